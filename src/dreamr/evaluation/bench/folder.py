"""The folder of a bench: configuration, samples and provenance, safe against interruptions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dreamr._files import open_binary
from dreamr._locks import FolderLock
from dreamr._messages import reason
from dreamr._options import RunOptions
from dreamr._output_files import append_line, replace_file, writing
from dreamr.errors import DreamrError, Unsupported
from dreamr.evaluation.bench.plan import Key, Plan
from dreamr.evaluation.bench.sample import Sample

_ADVICE = "finished samples are kept; run the same command again to resume"
SAMPLES, CONFIG, PROVENANCE = "samples.jsonl", "config.yaml", "provenance.json"
_DTYPES = "dtypes"  # of the models, in a session


class BenchError(DreamrError):
    """The folder is not one of this bench or is broken, or the bench cannot continue."""


class Folder:
    """The folder of a bench, open for more samples.

    samples.jsonl has one sample per line, on the disk before the next problem begins. An incomplete
    last line, left by a killed process, is removed. The other files are replaced atomically. The
    folder is locked while it is open.

    Attributes:
        path: Path of the folder.
        planned: Keys of all samples of the complete bench.
        done: Keys of the stored samples, a subset of `planned`.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        """Open the folder, or create it.

        A larger limit is stored with the first sample, so a bench that is refused after this leaves
        the configuration as it is.

        Raises:
            BenchError: If another process runs a bench in the folder, the folder has a bench of
                another configuration or samples of other problems, or a file is broken; the message
                names the process, or the file and the line.
            TaskError: If a task of the plan cannot be loaded.
            Unwritable: If the folder cannot be written.
        """
        self.path = path
        if path.is_file():
            raise BenchError(f"{path} is a file: name a folder")
        self.planned = plan.keys()
        self._config: dict[str, Any] | None = None  # to be stored with the next sample
        with ExitStack() as stack, writing(path, _ADVICE):
            stack.enter_context(FolderLock(path, BenchError))
            self._claim(plan)
            self.done = self._recover()
            self._check_problems()
            self._file = stack.enter_context(FileIO(path / SAMPLES, "a"))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def left(self) -> frozenset[Key]:
        """Keys of the samples that are not stored yet."""
        return self.planned - self.done

    def add(self, sample: Sample) -> None:
        """Append one sample to samples.jsonl.

        Raises:
            Unwritable: If the sample cannot be written, for example on a full disk. The earlier
                samples are intact.
        """
        line = json.dumps(sample.to_json(), ensure_ascii=False).encode() + b"\n"
        if self._config is not None:
            self._write_config(self._config)
            self._config = None
        with writing(self.path, _ADVICE):
            append_line(self._file, line)
        self.done.add(sample.key)

    def begin_session(self, session: Mapping[str, Any]) -> None:
        """Append the provenance of this session.

        Raises:
            BenchError: If the folder has samples of models with other weights, or provenance.json
                is broken.
            Unwritable: If it cannot be written.
        """
        before = read_sessions(self.path)
        if self.done:
            self._check_weights(before, session)
        self._write_sessions([*before, session])

    @property
    def dtypes(self) -> dict[str, str]:
        """Data types of the local models of the stored samples, by role; empty if unknown.

        Raises:
            BenchError: If provenance.json is broken.
        """
        known = [session.get(_DTYPES) for session in read_sessions(self.path)]
        return next((dict(found) for found in reversed(known) if isinstance(found, dict)), {})

    def claim_dtypes(self, dtypes: Mapping[str, str]) -> None:
        """Add the data types of the open models to the provenance of this session.

        Raises:
            BenchError: If the folder has samples in another data type, or provenance.json is
                broken.
            Unwritable: If it cannot be written.
        """
        stored = self.dtypes if self.done else {}
        for role, dtype in dtypes.items():
            if stored.get(role, dtype) != dtype:
                raise BenchError(
                    f"{self.path} has samples with the {role} in {stored[role]}, and here it runs "
                    f"in {dtype}: name another folder"
                )
        self.end_session({_DTYPES: dict(dtypes)})

    def end_session(self, outcome: Mapping[str, Any]) -> None:
        """Add values to the provenance of this session.

        Raises:
            BenchError: If provenance.json is broken.
            Unwritable: If it cannot be written.
        """
        *before, session = read_sessions(self.path)
        self._write_sessions([*before, {**session, **outcome}])

    def _write_sessions(self, sessions: Sequence[Mapping[str, Any]]) -> None:
        self._replace(self.path / PROVENANCE, json.dumps(sessions, indent=2) + "\n")

    def _claim(self, plan: Plan) -> None:
        """Write the configuration of a new bench, or check that it continues the stored one."""
        own = plan.to_json()
        there = read_config(self.path)
        if there is None:
            if (self.path / SAMPLES).exists():
                raise BenchError(f"{self.path} has samples but no {CONFIG}: name another folder")
            self._write_config(own)
        else:
            if isinstance(options := there.get("options"), dict):
                # A version of dreamr without an option did what its default does.
                there = {**there, "options": RunOptions().to_json() | options}
            other = [name for name in own if own[name] != there.get(name) and name != "limit"]
            if other:
                raise BenchError(
                    f"{self.path} has a bench of another configuration ({CONFIG} differs in "
                    f"{', '.join(other)}): name another folder"
                )
            if own["limit"] < there["limit"]:
                raise BenchError(
                    f"{self.path} has a bench of {there['limit']} problems per task: "
                    f"--limit must be at least that, not {own['limit']}"
                )
            if own != there:
                self._config = own

    def _check_problems(self) -> None:
        """Check that all stored samples are of the plan.

        Others are there if the file of a task has changed, or if its loader draws other problems
        with a larger limit.
        """
        if other := self.done - self.planned:
            task, index, *_ = min(other)
            raise BenchError(
                f"{self.path} has samples of problems that this bench does not draw, such as "
                f"{task} {index}: name another folder"
            )

    def _check_weights(
        self, before: Sequence[Mapping[str, Any]], session: Mapping[str, Any]
    ) -> None:
        """Check that the models still have the weights of the sessions before, where known."""
        stored: dict[str, str] = {}
        for one in before:
            stored |= _weights(one)
        for role, weights in _weights(session).items():
            if stored.get(role, weights) != weights:
                raise BenchError(
                    f"{self.path} has samples with other weights of the {role} (hash "
                    f"{stored[role]}, now {weights}): name another folder"
                )

    def _write_config(self, config: Mapping[str, Any]) -> None:
        self._replace(self.path / CONFIG, _yaml().safe_dump(dict(config), sort_keys=False))

    def _recover(self) -> set[Key]:
        """Return the keys of the stored samples; remove an incomplete last line."""
        path = self.path / SAMPLES
        content = _read(path)
        if content is None:
            return set()
        whole = content[: content.rfind(b"\n") + 1]
        keys = {sample.key for sample in _samples(path, whole)}
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        return keys

    def _replace(self, path: Path, text: str) -> None:
        with writing(self.path, _ADVICE):
            replace_file(path, text.encode())


def read_samples(folder: Path) -> list[Sample]:
    """Read all samples of a bench, in the order of the file. An incomplete last line is skipped.

    Raises:
        BenchError: If samples.jsonl is missing or cannot be read, or a line is not a sample; the
            message names the line.
    """
    path = folder / SAMPLES
    content = _read(path)
    if content is None:
        raise BenchError(
            f"{folder} is not the folder of a bench (it has no {SAMPLES}): give the --out of a "
            "`dreamr bench run`"
        )
    whole, last = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
    samples = _samples(path, whole)
    with suppress(ValueError):
        samples.append(Sample.from_line(last, 0))
    return samples


def read_config(folder: Path) -> dict[str, Any] | None:
    """Read the configuration of a bench, None if there is none.

    Raises:
        BenchError: If config.yaml is broken; the message names the line of a syntax error.
        Unsupported: If PyYAML is not installed.
    """
    path = folder / CONFIG
    content = _read(path)
    if content is None:
        return None
    yaml = _yaml()
    try:
        values = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise BenchError(f"{path}{line}: not valid YAML") from error
    if not isinstance(values, dict):
        raise BenchError(f"{path} is not the configuration of a bench")
    for name in ("version", "limit"):
        if not isinstance(values.get(name), int):
            problem = "has the wrong type" if name in values else "is missing"
            raise BenchError(f"{path} is not the configuration of a bench: {name!r} {problem}")
    return values


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """Read the provenance of a bench, one entry per session; empty if there is none.

    Raises:
        BenchError: If provenance.json is broken; the message names the line of a syntax error.
    """
    path = folder / PROVENANCE
    content = _read(path)
    if content is None:
        return []
    try:
        sessions = json.loads(content)
    except json.JSONDecodeError as error:
        raise BenchError(f"{path}, line {error.lineno}: not valid JSON") from error
    except ValueError as error:
        raise BenchError(f"{path}: not valid JSON") from error
    if not (isinstance(sessions, list) and all(isinstance(entry, dict) for entry in sessions)):
        raise BenchError(f"{path} is not a list of sessions")
    return sessions


def _read(path: Path) -> bytes | None:
    """Read a file of the folder, None if it does not exist.

    Raises:
        BenchError: If it cannot be read.
    """
    try:
        with open_binary(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BenchError(f"cannot read {path}: {reason(error)}") from error


def _weights(session: Mapping[str, Any]) -> dict[str, str]:
    """Return the hashes of the weights of a session's models, by role, where known."""
    models = session.get("models")
    found = models.items() if isinstance(models, dict) else ()
    return {
        role: model["weights"]
        for role, model in found
        if isinstance(model, dict) and isinstance(model.get("weights"), str)
    }


def _samples(path: Path, content: bytes) -> list[Sample]:
    """Parse complete lines of samples.jsonl; blank lines are skipped."""
    lines = enumerate(content.splitlines(), 1)
    try:
        return [Sample.from_line(line, number) for number, line in lines if line.strip()]
    except ValueError as error:
        raise BenchError(f"{path}, {error}: remove the line to repeat its problem") from error


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise Unsupported(
            "a bench needs PyYAML, which is not installed: pip install 'dreamr[bench]'"
        ) from error
    return yaml
