"""Records of runs for training: conversations with their committed and rejected steps.

A file of records is in JSON Lines format. Images, pages, frames and sounds are embedded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from types import NoneType
from typing import Any, get_args, overload

from dreamr._files import open_binary
from dreamr._messages import reason
from dreamr.conversation import Conversation
from dreamr.errors import ConversationError
from dreamr.speech import with_transcripts
from dreamr.steps import Ending, Role
from dreamr.trace import Result, RunStarted, SpeechTranscribed, StepRejected
from dreamr.training.errors import BadTraining
from dreamr.training.record_turns import tools_from_json, turn_from_json, turn_to_json
from dreamr.training.record_values import get_one_of, get_value, shown

_VERSION = 1
BEGINNING = b'{"version": 1, "name": "'  # of each line
_NOT_NEEDED = {"conversation", "transcripts", "models"}  # in a line


@dataclass(frozen=True, slots=True)
class Recorded:
    """A committed step."""

    text: str
    source: Role


@dataclass(frozen=True, slots=True)
class Rejected:
    """A drafted step that the target rejected, with its position among the committed steps."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A preference pair: after `prefix`, the target's step is preferred to a rejected one."""

    prefix: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Record:
    """One run.

    Attributes:
        name: Identifier, unique in its file; 'task/index' for problems of a task.
        method: Method of the run.
        conversation: The conversation that was answered.
        steps: Committed steps, including the answer.
        rejected: Drafted steps that the target rejected.
        complete: Whether the run reached an answer.
        right: Whether the answer is right; None if there is no scorer.
        transcripts: What was heard in each sound; empty if the models got the sounds themselves.
        models: By role, a hash of the weights of each model, or the name of a remote one; empty if
            unknown.
    """

    name: str
    method: str
    conversation: Conversation
    steps: tuple[Recorded, ...]
    rejected: tuple[Rejected, ...]
    complete: bool
    right: bool | None = None
    transcripts: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt(self) -> Conversation:
        """The conversation as the models got it, with the transcripts in place of its sounds."""
        if not self.transcripts:
            return self.conversation
        return with_transcripts(self.conversation, self.transcripts)

    @property
    def text(self) -> str:
        """Committed text."""
        return "".join(step.text for step in self.steps)

    def preferences(self) -> Iterator[Preference]:
        """Yield a preference for each rejected step that the target replaced with another text."""
        for refused in self.rejected:
            if refused.position < len(self.steps):
                own = self.steps[refused.position]
                if own.source == "target" and own.text.strip() != refused.text.strip():
                    before = self.steps[: refused.position]
                    prefix = "".join(step.text for step in before)
                    yield Preference(prefix, own.text, refused.text)


def record_of(
    name: str, conversation: Conversation, result: Result, right: bool | None = None
) -> Record:
    """Make a record of a run.

    Steps that ended at a limit or that no target has judged do not count as rejected.

    Args:
        name: Identifier, unique in the file of records.
        conversation: The conversation that was answered.
        result: Result of the run, with its trace.
        right: Whether the answer is right, if known.
    """
    heard = tuple(event.text for event in result.events if isinstance(event, SpeechTranscribed))
    methods = (event.method for event in result.events if isinstance(event, RunStarted))
    return Record(
        name,
        next(methods, ""),
        conversation,
        tuple(Recorded(step.step.text, step.source) for step in result.steps),
        tuple(
            Rejected(event.position, event.step.text)
            for event in result.events
            if isinstance(event, StepRejected)
            and event.verdict.by_target
            and event.step.ending is not Ending.CAP
        ),
        result.complete,
        right,
        heard if len(heard) == len(conversation.sounds) else (),
    )


def to_line(record: Record) -> str:
    """Return a record as one line of JSON, without a line break."""
    values = {
        "version": _VERSION,
        "name": record.name,
        "method": record.method,
        "turns": list(map(turn_to_json, record.conversation.turns)),
        **({"tools": list(map(asdict, tools))} if (tools := record.conversation.tools) else {}),
        "steps": [asdict(step) for step in record.steps],
        "rejected": [asdict(step) for step in record.rejected],
        "complete": record.complete,
        "right": record.right,
        **({"transcripts": record.transcripts} if record.transcripts else {}),
        **({"models": dict(record.models)} if record.models else {}),
    }
    return json.dumps(values, ensure_ascii=False)


class Records(Sequence[Record]):
    """All records of one or more files.

    Records are parsed when they are accessed, since images take much memory. A truncated last line
    is left out.

    Attributes:
        digest: Hash of the contents of all files.

    Raises:
        BadTraining: If a file cannot be read or, on access, if a line is not a record.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Index the lines of the files without parsing them."""
        self._places: list[tuple[Path, int, int]] = []  # file, offset in bytes, number of the line
        digest = sha256()
        for path in paths:
            try:
                with open_binary(path) as file:
                    start = 0
                    for number, line in enumerate(file, 1):
                        if line.endswith(b"\n"):
                            self._places.append((path, start, number))
                            digest.update(line)
                        start += len(line)
            except OSError as error:
                raise _unreadable(path, error) from error
        self.digest = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        if isinstance(place, slice):
            return [self[at] for at in range(len(self))[place]]
        path, start, number = self._places[place]
        try:
            with open_binary(path) as file:
                file.seek(start)
                line = file.readline()
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            return _from_line(line)
        except ValueError as error:
            raise BadTraining(
                f"{path}, line {number} is not a record: {error}; delete the line"
            ) from error


def _unreadable(path: Path, error: OSError) -> BadTraining:
    return BadTraining(f"cannot read the records in {path}: {reason(error)}")


def is_record(line: bytes) -> bool:
    """Check whether a line has the version and the keys of a record; values are not checked."""
    if not line.startswith(b"{"):
        return False
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    needed = {item.name for item in fields(Record)} - _NOT_NEEDED | {"version", "turns"}
    return needed <= values.keys() and bool(values["version"] == _VERSION)


def _from_line(line: bytes) -> Record:
    """Parse a line of a file of records.

    Raises:
        ValueError: If it is not a record; the message says why.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not valid JSON") from error
    if (version := get_value(values, "version", int)) != _VERSION:
        raise ValueError(f"version {version} instead of {_VERSION}")
    conversation = _conversation_from_json(values)
    return Record(
        get_value(values, "name", str),
        get_value(values, "method", str),
        conversation,
        tuple(
            Recorded(get_value(step, "text", str), get_one_of(step, "source", get_args(Role)))
            for step in get_value(values, "steps", list)
        ),
        tuple(
            Rejected(get_value(step, "position", int), get_value(step, "text", str))
            for step in get_value(values, "rejected", list)
        ),
        get_value(values, "complete", bool),
        get_value(values, "right", bool, NoneType),
        _transcripts(values, len(conversation.sounds)),
        _models(values),
    )


def _transcripts(values: Any, sounds: int) -> tuple[str, ...]:
    texts = values.get("transcripts", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"'transcripts' is {shown(texts)} instead of a list of texts")
    if len(texts) not in (0, sounds):
        raise ValueError(f"{len(texts)} transcripts of {sounds} sounds")
    return tuple(texts)


def _models(values: Any) -> dict[str, str]:
    models = values.get("models", {})
    if not isinstance(models, dict) or not all(isinstance(name, str) for name in models.values()):
        raise ValueError(f"'models' is {shown(models)} instead of an object of texts")
    return models


def _conversation_from_json(values: Any) -> Conversation:
    conversation = Conversation(
        tuple(map(turn_from_json, get_value(values, "turns", list))),
        tools_from_json(values.get("tools", [])),
    )
    try:
        conversation.check()
    except ConversationError as error:
        raise ValueError(f"'turns' cannot be used, {error}") from error
    return conversation
