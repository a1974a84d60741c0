"""The folder of a bench: what was done is in there, and nothing is done twice or lost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dreamr._files import replace_file, writing
from dreamr.errors import DreamrError, Unsupported
from dreamr.evaluation.bench.plan import Key, Plan
from dreamr.evaluation.bench.sample import Sample

_ADVICE = "what was finished is kept, the same command goes on from there"
SAMPLES, CONFIG, PROVENANCE = "samples.jsonl", "config.yaml", "provenance.json"


class BenchError(DreamrError):
    """A folder that holds something else, or a bench that cannot go on."""


class Folder:
    """A bench's folder, open for more samples.

    samples.jsonl has one sample a line, each written whole before the next problem begins; a line
    that a kill broke off is cut away. The other files are replaced in one go.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        """Open or make it.

        Raises:
            BenchError: it holds a bench of another configuration.
            Unwritable: it cannot be written.
        """
        self.path = path
        with writing(path, _ADVICE):
            path.mkdir(parents=True, exist_ok=True)
            self._claim(plan)
            self.done = self._recover()
            self._file = (path / SAMPLES).open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, sample: Sample) -> None:
        """Write one sample; it is on the disk when this returns.

        Raises:
            Unwritable: no room, for example; all samples before are whole.
        """
        line = json.dumps(sample.to_json(), ensure_ascii=False).encode() + b"\n"
        start = self._file.tell()
        with writing(self.path, _ADVICE):
            written = self._file.write(line)
            if written != len(line):  # a full disk takes a part and does not complain
                self._file.truncate(start)
                raise OSError("no space left on the device")
        self.done.add(sample.key)

    def begin_session(self, session: Mapping[str, Any]) -> None:
        """Write what this session runs with behind those before it."""
        self._write_sessions([*self._sessions(), session])

    def end_session(self, outcome: Mapping[str, Any]) -> None:
        """Add to this session what is known at its end."""
        *before, session = self._sessions()
        self._write_sessions([*before, {**session, **outcome}])

    def _sessions(self) -> list[Any]:
        path = self.path / PROVENANCE
        return list(json.loads(path.read_text())) if path.exists() else []

    def _write_sessions(self, sessions: list[Any]) -> None:
        self._replace(self.path / PROVENANCE, json.dumps(sessions, indent=2) + "\n")

    def _claim(self, plan: Plan) -> None:
        """Write the configuration down, or see that it is the one that is there."""
        path, own = self.path / CONFIG, plan.to_json()
        there = read_config(self.path)
        if there is None:
            if (self.path / SAMPLES).exists():
                raise BenchError(f"{self.path} holds samples without {CONFIG}: name another folder")
        else:
            other = [name for name in own if own[name] != there.get(name) and name != "limit"]
            if other:
                raise BenchError(
                    f"{self.path} holds a bench of another configuration ({', '.join(other)} "
                    f"differ, see {CONFIG} there): name another folder"
                )
            if own["limit"] < there["limit"]:
                raise BenchError(
                    f"{self.path} holds a bench of {there['limit']} problems a task: "
                    f"--limit may grow, not shrink to {own['limit']}"
                )
        if own != there:
            self._replace(path, _yaml().safe_dump(own, sort_keys=False))

    def _recover(self) -> set[Key]:
        path = self.path / SAMPLES
        if not path.exists():
            return set()
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        lines = enumerate(whole.splitlines(), 1)
        try:
            return {Sample.from_line(line, number).key for number, line in lines}
        except ValueError as error:
            raise BenchError(f"{path}, {error}: remove it, and it is done again") from error

    def _replace(self, path: Path, text: str) -> None:
        with writing(self.path, _ADVICE):
            replace_file(path, text.encode())


def read_config(path: Path) -> dict[str, Any] | None:
    """The configuration of a bench's folder, None where there is none.

    Raises:
        BenchError: the file is no configuration of a bench.
    """
    try:
        text = (path / CONFIG).read_text(encoding="utf-8")
        values = _yaml().safe_load(text)
    except FileNotFoundError:
        return None
    except (_yaml().YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path / CONFIG} is not readable: {error}") from error
    if not isinstance(values, dict) or "version" not in values:
        raise BenchError(f"{path / CONFIG} is no configuration of a bench")
    return values


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise Unsupported(
            "a bench needs what is not installed: pip install 'dreamr[bench]'"
        ) from error
    return yaml
