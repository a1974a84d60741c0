"""Samples: the result of one method on one problem, as stored in samples.jsonl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from types import NoneType
from typing import Any, Self

from dreamr.conversation import Conversation, Document, Image, Video
from dreamr.gate import ScoreKind
from dreamr.trace import Bar, Fate, LaneName, Result, StepCommitted, lay_out

Check = Callable[[int, str], bool | None]
MEDIA = ("images", "pages", "frames", "sounds")  # that a problem can have


@dataclass(frozen=True, slots=True)
class Span:
    """An uninterrupted span of work on one lane.

    Attributes:
        lane: The lane.
        start: Start, in seconds since the start of the run.
        end: End, in seconds since the start of the run.
        fate: Outcome of the written step, or `judging` for a judge call.
        position: Position of the (first) step.
        steps: Number of steps: those of the judge call, otherwise 1.
        tokens: Number of tokens written; for a judge call, tokens of the judged steps.
        ratio: Score of the verdict on a drafted step, None if the target did not judge it.
        right: Whether the step is right by the task's checker, None if unknown.
    """

    lane: LaneName
    start: float
    end: float
    fate: Fate
    position: int
    steps: int = 1
    tokens: int = 0
    ratio: float | None = None
    right: bool | None = None
    kind: ScoreKind | None = None  # what the ratio measures; None if unknown or never decided

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.end - self.start

    @property
    def committed(self) -> bool:
        """Whether this is a step of the final text."""
        return self.lane != "judge" and self.fate in ("accepted", "kept")

    @property
    def decided(self) -> bool:
        """Whether this is a drafted step that was accepted or rejected."""
        return self.lane == "draft" and self.fate in ("accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one method on one problem.

    Attributes:
        task: Name of the task.
        index: Number of the problem in its task.
        kind: Kind of problem, as named by the task.
        method: Name of the preset.
        concurrency: Number of problems solved concurrently.
        right: Whether the answer is right.
        answer: The answer.
        finish: How the run ended; see `Result.finish`.
        seconds: Wall-clock time of the run.
        first_step: Seconds to the first committed step, None if there was none.
        tokens: Number of committed tokens, answer included.
        steps: Number of committed steps, answer included.
        spans: Timeline of the run.
        attempt: Number of the attempt, from 1; more than 1 after a worker was lost.
        share: For concurrent problems, this problem's share of the wall-clock time of its batch;
            else None.
        attachments: Number of images, pages, frames and sounds of the problem (see `MEDIA`), of
            those that it has.
        unit: Identifier of the problem in a score, see `Item.unit`. None: it has no other samples
            of the same method and concurrency.
        error: Why the run failed, None if it did not.
    """

    task: str
    index: int
    kind: str
    method: str
    concurrency: int
    right: bool
    answer: str
    finish: str
    seconds: float
    first_step: float | None
    tokens: int
    steps: int
    spans: tuple[Span, ...]
    attempt: int = 1
    share: float | None = None
    attachments: Mapping[str, int] = field(default_factory=dict)
    unit: str | None = None
    error: str | None = None

    @property
    def problem(self) -> tuple[str, str]:
        """Task and identifier of the problem in a score, which all its samples share."""
        return (self.task, str(self.index) if self.unit is None else self.unit)

    @property
    def key(self) -> tuple[str, int, str, int]:
        """Unique key of the sample in its bench: task, index, method and concurrency."""
        return (self.task, self.index, self.method, self.concurrency)

    @property
    def complete(self) -> bool:
        """Whether the reasoning is complete, rather than cut by a limit or a failure."""
        return self.finish in ("answer", "stop")

    @property
    def wall(self) -> float:
        """Seconds of wall-clock time, which add up over problems even if these are concurrent."""
        return self.seconds if self.share is None else self.share

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON values; spans become lists, since they make up most of the file."""
        row: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**row, "spans": [_row(span) for span in self.spans]}

    @classmethod
    def from_line(cls, line: str | bytes, number: int) -> Self:
        """Parse one line of samples.jsonl.

        Args:
            line: The line.
            number: Number of the line in its file, from 1.

        Raises:
            ValueError: If the line is not a sample; the message names the line and the reason.
        """
        try:
            return cls.from_json(_parse(line))
        except ValueError as error:
            raise ValueError(f"line {number} is not a sample ({error})") from error

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Convert the values that `to_json` returned back to a sample.

        Raises:
            ValueError: If the values are not those of a sample; the message says which one.
        """
        _check(row)
        return cls(**{**row, "spans": tuple(Span(*span) for span in row["spans"])})


_NUMBER = (int, float)
_MAYBE_NUMBER = (int, float, NoneType)
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("task", "kind", "method", "answer", "finish"), str),
    **dict.fromkeys(("index", "concurrency", "tokens", "steps", "attempt"), int),
    **dict.fromkeys(("first_step", "share"), _MAYBE_NUMBER),
    "right": bool,
    "seconds": _NUMBER,
    "spans": list,
    "attachments": dict,
    **dict.fromkeys(("unit", "error"), (str, NoneType)),
}
_DEFAULTED = ("attempt", "share", "attachments", "unit", "error")
_SPAN_TYPES: tuple[type | tuple[type, ...], ...] = (
    *(str, _NUMBER, _NUMBER, str, int, int, int),
    *(_MAYBE_NUMBER, (bool, NoneType), (str, NoneType)),
)
_LEAST_SPAN = 5  # values of a span without defaults


def _parse(line: str | bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError("not valid JSON") from error


def _check(row: Any) -> None:
    """Check keys and types, so that a broken file is reported with its line and not in the report.

    Raises:
        ValueError: If a key is missing or unknown, or a value has the wrong type.
    """
    if not isinstance(row, Mapping):
        raise ValueError("not a JSON object")
    for name in row:
        if name not in _TYPES:
            raise ValueError(f"unknown key {name!r}")
    for name, types in _TYPES.items():
        if name not in row:
            if name not in _DEFAULTED:
                raise ValueError(f"{name!r} is missing")
        elif not isinstance(row[name], types):
            raise ValueError(f"{name!r} has the wrong type")
    for kind, count in row.get("attachments", {}).items():
        if kind not in MEDIA or type(count) is not int:
            raise ValueError(f"'attachments' has no {kind!r} of this type")
    for number, span in enumerate(row["spans"], 1):
        if not _is_span(span):
            raise ValueError(f"span {number} is broken")


def _is_span(values: Any) -> bool:
    return (
        isinstance(values, list)
        and _LEAST_SPAN <= len(values) <= len(fields(Span))
        and all(map(isinstance, values, _SPAN_TYPES))
    )


def _row(span: Span) -> list[Any]:
    values = asdict(span)
    rounded = {k: round(values[k], 6) for k in ("start", "end")}
    return list({**values, **rounded}.values())


def spans_of(bars: Iterable[Bar], check: Check) -> tuple[Span, ...]:
    """Convert the bars of a trace to spans, with the task's check of each complete step."""
    ordered = sorted(bars, key=lambda bar: (bar.start, bar.lane))
    drafted = sorted(
        (bar for bar in ordered if bar.lane == "draft" and bar.text), key=lambda bar: bar.end
    )
    return tuple(_span(bar, drafted, check) for bar in ordered)


def _judged(call: Bar, place: int, drafted: Sequence[Bar]) -> int:
    """Return the number of tokens of one step of a judge call.

    Of the drafted steps at this position, it is the one with the same verdict. Otherwise it is the
    last one that was complete when the call ended, since a call can grow after it was opened.
    """
    there = [s for s in drafted if s.positions[0] == call.positions[place] and s.end <= call.end]
    verdict = call.verdicts[place : place + 1]
    same = [step for step in there if verdict and step.verdicts == verdict]
    return (same or there)[-1].tokens if there else 0


def _span(bar: Bar, drafted: Sequence[Bar], check: Check) -> Span:
    """Convert a bar to a span; `drafted` are the complete drafted steps, sorted by end."""
    position = bar.positions[0]
    if bar.lane == "judge":
        tokens = sum(_judged(bar, place, drafted) for place in range(len(bar.positions)))
        return Span("judge", bar.start, bar.end, bar.fate, position, len(bar.positions), tokens)
    ratio = bar.verdicts[0].score if bar.verdicts and bar.verdicts[0].evidence else None
    right = check(position, bar.text) if bar.text else None
    kind = bar.verdicts[0].kind if bar.verdicts else None
    return Span(bar.lane, bar.start, bar.end, bar.fate, position, 1, bar.tokens, ratio, right, kind)


def attachments_of(conversation: Conversation) -> dict[str, int]:
    """Return the number of images, pages, frames and sounds of a problem, of those that it has."""
    parts = [part for turn in conversation.turns for part in turn.parts]
    counts = {
        "images": sum(isinstance(part, Image) for part in parts),
        "pages": sum(len(part.pages) for part in parts if isinstance(part, Document)),
        "frames": sum(len(part.frames) for part in parts if isinstance(part, Video)),
        "sounds": len(conversation.sounds),
    }
    return {kind: count for kind, count in counts.items() if count}


def first_step(result: Result) -> float | None:
    """Return the seconds to the first committed step, None if there is none."""
    return next((e.time for e in result.events if isinstance(e, StepCommitted)), None)


def trace_of(result: Result, check: Check) -> tuple[Span, ...]:
    """Return the spans of a finished run."""
    return spans_of(lay_out(result.events), check)
