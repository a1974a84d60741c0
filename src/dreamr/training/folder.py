"""The folder of a training: nothing of one run ever mixes with another's."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamr._files import replace_file, writing
from dreamr.training.errors import BadTraining

CONFIG, LOG, CHECKPOINTS, MODEL = "config.json", "log.csv", "checkpoints", "draft"


class RunFolder:
    """config.json, log.csv, checkpoints/ and, at the end, draft/ with the trained model."""

    def __init__(self, path: Path, config: Mapping[str, Any], *, writes: bool = True) -> None:
        """Make it, or find it as an interrupted run of the same configuration left it.

        Args:
            path: the folder.
            config: plain values that say which run this is.
            writes: False in all processes of a run but one.

        Raises:
            BadTraining: it holds another run, or something else.
            Unwritable: it cannot be written.
        """
        self.path, self._writes = path, writes
        self.checkpoints, self.model = path / CHECKPOINTS, path / MODEL
        with writing(path, "name another folder"):
            self._claim(dict(config))

    def _claim(self, config: dict[str, Any]) -> None:
        """Write the configuration, or see that it is the one that is there.

        One that came to no checkpoint holds nothing, and gives way.
        """
        file = self.path / CONFIG
        there = _read(file)
        if there is not None and there != config and (self.done or self.last_checkpoint()):
            names = {*config, *there}
            other = sorted(name for name in names if config.get(name) != there.get(name))
            raise BadTraining(
                f"{self.path} holds a training of another configuration ({', '.join(other)} "
                f"differ, see {CONFIG} there): name another folder"
            )
        if there is None and self.path.exists() and any(self.path.iterdir()):
            raise BadTraining(f"{self.path} holds something else: name an empty or a new folder")
        if self._writes and there != config:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(file, (json.dumps(config, indent=2) + "\n").encode())

    @property
    def done(self) -> bool:
        """Whether the run came to its end: the model is there."""
        return self.model.is_dir()

    def last_checkpoint(self) -> Path | None:
        """The newest that is whole; its state is written last."""
        whole = [p for p in self.checkpoints.glob("checkpoint-*") if is_whole(p)]
        return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def _read(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadTraining(f"{file} is not readable: {error}") from error


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end."""
    try:
        return bool(json.loads((checkpoint / "trainer_state.json").read_text()))
    except (OSError, ValueError):
        return False


class Log:
    """log.csv: a row a step, with the same columns from the first row to the last."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = folder / LOG, ("step", *columns)

    def begin(self, step: int) -> None:
        """Keep the rows up to a step, from which the run goes on."""
        rows = [row for row in self.rows() if int(row["step"]) <= step]
        lines = [",".join(self._columns)]
        lines += [",".join(row.get(name, "") for name in self._columns) for row in rows]
        replace_file(self._path, ("\n".join(lines) + "\n").encode())

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """One row; what is not known stays empty."""
        known = {name: values.get(name) for name in self._columns[1:]}
        cells = ["" if value is None else f"{value:.6g}" for value in known.values()]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(",".join([str(step), *cells]) + "\n")

    def rows(self) -> list[dict[str, str]]:
        """All rows so far; a last one that a kill broke off is left out."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
