"""Folder of a training: configuration, log, checkpoints and the trained draft."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from dreamr._files import open_binary, read_bytes
from dreamr._locks import LOCK
from dreamr._messages import reason
from dreamr._output_files import append_line, replace_file, writing
from dreamr.training.errors import BadTraining

CONFIG, LOG, CHECKPOINTS, MODEL = "config.json", "log.csv", "checkpoints", "draft"


class RunFolder:
    """Folder of one training, which is created or resumed.

    A folder with a checkpoint or a trained draft belongs to its configuration. One without either
    is taken over by the new configuration.

    Attributes:
        path: The folder; holds config.json and log.csv.
        checkpoints: Subfolder of the checkpoints.
        model: Subfolder of the trained draft, which exists once the training is finished.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, writes: bool = True) -> None:
        """Create the folder, or check that it holds the same training.

        Args:
            path: The folder.
            config: JSON values that identify the training.
            writes: Whether this process writes config.json; True in one process of a training.

        Raises:
            BadTraining: If the folder holds another training or other files, or its config.json
                is broken.
            Unwritable: If the folder cannot be written.
        """
        self.path, self._writes = path, writes
        self.checkpoints, self.model = path / CHECKPOINTS, path / MODEL
        with writing(path, "name another folder"):
            self._claim(dict(config))

    def _claim(self, config: dict[str, Any]) -> None:
        """Write the configuration, or check that the folder already has the same one."""
        file = self.path / CONFIG
        there = _read(file)
        config = json.loads(json.dumps(config))  # as it is read: JSON makes keys text
        same = there is not None and _same(there, config)
        if there is not None and not same and (self.done or self.last_checkpoint()):
            names = {*config, *there}
            other = sorted(name for name in names if not _same(config.get(name), there.get(name)))
            raise BadTraining(
                f"{self.path} holds a training with another configuration (changed: "
                f"{', '.join(other)}; see its {CONFIG}): name another folder"
            )
        if there is None and any(file.name != LOCK for file in _entries(self.path)):
            raise BadTraining(f"{self.path} holds other files: name an empty or a new folder")
        if self._writes and not same:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(file, (json.dumps(config, indent=2) + "\n").encode())

    @property
    def done(self) -> bool:
        """Whether the training is finished."""
        return self.model.is_dir()

    def last_checkpoint(self) -> Path | None:
        """Return the newest complete checkpoint, if any."""
        steps = {
            int(step): path
            for path in self.checkpoints.glob("checkpoint-*")
            if (step := path.name.removeprefix("checkpoint-")).isdecimal() and is_whole(path)
        }
        return steps[max(steps)] if steps else None


def _same(one: Any, other: Any) -> bool:
    """Compare JSON values; NaN is the same as NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def _read(file: Path) -> dict[str, Any] | None:
    """Read config.json; None if there is no such file.

    Raises:
        BadTraining: If the file cannot be read or does not hold a JSON object.
    """
    if not file.exists():
        return None
    try:
        values = json.loads(read_bytes(file))
    except OSError as error:
        raise BadTraining(
            f"cannot read {file}: {reason(error)}; change its permissions or name another folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadTraining(
            f"{file}, line {_line_of(error)} is not valid JSON: name another folder"
        ) from error
    if not isinstance(values, dict):
        raise BadTraining(f"{file}, line 1 is not a JSON object: name another folder")
    return values


def _line_of(error: Exception) -> int:
    """Return the line of an error of the JSON or UTF-8 decoder, from 1."""
    match error:
        case json.JSONDecodeError():
            return error.lineno
        case UnicodeDecodeError():
            return error.object.count(b"\n", 0, error.start) + 1
        case _:
            return 1


def is_whole(checkpoint: Path) -> bool:
    """Check whether a checkpoint is complete; trainer_state.json is written last."""
    try:
        return bool(json.loads(read_bytes(checkpoint / "trainer_state.json")))
    except (OSError, ValueError):
        return False


class Log:
    """Log of a training, log.csv: one row per step with a fixed set of columns."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        """Refer to the log of a folder, whether it exists or not.

        Args:
            folder: Folder of the training.
            columns: Names of the columns after 'step'; not needed for reading.
        """
        self._path, self._columns = folder / LOG, ("step", *columns)

    def begin(self, step: int) -> None:
        """Start the log, keeping the rows up to the step from which a training resumes.

        Raises:
            BadTraining: If the existing log is broken.
            Unwritable: If the log cannot be written.
        """
        rows = [row for row in self.rows() if int(row["step"]) <= step]
        lines = [",".join(self._columns)]
        lines += [",".join(row.get(name, "") for name in self._columns) for row in rows]
        with writing(self._path):
            replace_file(self._path, ("\n".join(lines) + "\n").encode())

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Append a row; missing values are left empty.

        Raises:
            Unwritable: If it cannot be written, for example on a full disk.
        """
        known = {name: values.get(name) for name in self._columns[1:]}
        cells = ["" if value is None else f"{value:.6g}" for value in known.values()]
        line = ",".join([str(step), *cells]) + "\n"
        with writing(self._path), FileIO(self._path, "a") as file:
            append_line(file, line.encode(), sync=False)

    def rows(self) -> list[dict[str, str]]:
        """Return all rows as text by column, without a truncated last line.

        Raises:
            BadTraining: If the file cannot be read or a line is not a row of numbers.
        """
        reader = csv.DictReader(self._text().splitlines())
        found: list[dict[str, str]] = []
        try:
            for row in reader:
                if not _is_row(row):
                    raise self._broken(reader.line_num)
                found.append(row)
        except csv.Error as error:
            raise self._broken(reader.reader.line_num) from error
        return found

    def _text(self) -> str:
        """Return the complete lines of the file; '' if there is no file."""
        if not self._path.exists():
            return ""
        try:
            with open_binary(self._path) as file:
                content = file.read()
            return content[: content.rfind(b"\n") + 1].decode()
        except OSError as error:
            raise BadTraining(f"cannot read {self._path}: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise self._broken(_line_of(error)) from error

    def _broken(self, line: int) -> BadTraining:
        return BadTraining(
            f"{self._path}, line {line} does not hold a number for each column: delete the line"
        )


def _is_row(row: Mapping[str, Any]) -> bool:
    """Check whether a row has a whole number under 'step' and numbers or nothing elsewhere."""
    return str(row.get("step")).isdecimal() and all(map(_is_number, row.values()))


def _is_number(cell: Any) -> bool:
    """Check whether a cell is empty or a number; missing cells are None, surplus cells a list."""
    try:
        return cell == "" or float(cell) is not None
    except (TypeError, ValueError):
        return False
