"""What runs leave for training: questions, accepted steps, refused ones and what came instead.

One JSON object a line, whole in itself: pictures are in it, as PNG.
"""

from __future__ import annotations

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, overload

from dreamr.conversation import Conversation, Image, Part, Text, Turn, read_image, to_pillow
from dreamr.steps import Ending, Role
from dreamr.trace import Result, RunStarted, StepRejected
from dreamr.training.errors import BadTraining

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """A committed step."""

    text: str
    source: Role


@dataclass(frozen=True, slots=True)
class Rejected:
    """A drafted step that the gate refused at this position."""

    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Preference:
    """After `prefix` the target wrote `chosen` where the draft's `rejected` was refused."""

    prefix: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Record:
    """One run. right: what the task's scorer said, None where nobody knows."""

    name: str
    method: str
    conversation: Conversation
    steps: tuple[Recorded, ...]
    rejected: tuple[Rejected, ...]
    complete: bool
    right: bool | None = None

    @property
    def text(self) -> str:
        """The whole committed text."""
        return "".join(step.text for step in self.steps)

    def preferences(self) -> Iterator[Preference]:
        """What the target wrote itself in the place of what it refused."""
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
    """What a run leaves. name: tells it from others in the same file.

    Steps that were cut by a limit, or that no target has looked at, were not refused by it.
    """
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
            and event.verdict.evidence is not None
            and event.step.ending is not Ending.CAP
        ),
        result.complete,
        right,
    )


def to_line(record: Record) -> str:
    """One line of JSON, without its end."""
    values = {
        "version": _VERSION,
        "name": record.name,
        "method": record.method,
        "turns": [
            {"role": turn.role, "parts": list(map(_part_to_json, turn.parts))}
            for turn in record.conversation.turns
        ],
        "steps": [asdict(step) for step in record.steps],
        "rejected": [asdict(step) for step in record.rejected],
        "complete": record.complete,
        "right": record.right,
    }
    return json.dumps(values, ensure_ascii=False)


class Records(Sequence[Record]):
    """All records of some files, each read when it is asked for: pictures take memory.

    A last line that a kill broke off is left out. digest: of all that is in the files.

    Raises:
        BadTraining: a file cannot be read, or a line is no record.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look at every line once."""
        self._places: list[tuple[Path, int, int]] = []  # file, where the line begins, its number
        digest = sha256()
        for path in paths:
            try:
                with path.open("rb") as file:
                    start = 0
                    for number, line in enumerate(file, 1):
                        if line.endswith(b"\n"):
                            self._places.append((path, start, number))
                            digest.update(line)
                        start += len(line)
            except OSError as error:
                raise BadTraining(f"cannot read the records in {path}: {error}") from error
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
        with path.open("rb") as file:
            file.seek(start)
            line = file.readline()
        try:
            return _from_json(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise BadTraining(f"{path}, line {number} is no record: {error!r}") from error


def repair(path: Path) -> None:
    """Cut away a last line that a kill broke off, so that more can be added."""
    if path.is_file():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _from_json(values: Mapping[str, Any]) -> Record:
    if values["version"] != _VERSION:
        raise ValueError(f"version {values['version']}, and this is {_VERSION}")
    turns = tuple(
        Turn(turn["role"], tuple(map(_part_from_json, turn["parts"]))) for turn in values["turns"]
    )
    return Record(
        values["name"],
        values["method"],
        Conversation(turns),
        tuple(Recorded(**step) for step in values["steps"]),
        tuple(Rejected(**step) for step in values["rejected"]),
        values["complete"],
        values["right"],
    )


def _part_to_json(part: Part) -> dict[Literal["text", "image"], str]:
    match part:
        case Text(text):
            return {"text": text}
        case Image():
            file = io.BytesIO()
            to_pillow(part).save(file, "PNG")
            return {"image": b64encode(file.getvalue()).decode()}
        case _:
            raise BadTraining(f"records hold text and pictures, not {type(part).__name__.lower()}")


def _part_from_json(values: Mapping[str, str]) -> Part:
    if "text" in values:
        return Text(values["text"])
    return read_image(b64decode(values["image"]))
