"""One problem solved with one method, as it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from dreamr.gate import ScoreKind
from dreamr.trace import Bar, Fate, LaneName, Result, StepCommitted, lay_out

Check = Callable[[int, str], bool | None]


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of work on one lane, in seconds since the run started.

    position: of the first step that it is about; steps: about how many, for a judge call.
    tokens: written; for a judge call, of all steps that it judged. ratio: the verdict's on a
    drafted step, None where it has none. right: whether the step is right by the task's own
    checker, None where that cannot be told.
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
    """One problem with one method.

    index: the problem's number in its task; kind: what sort of problem it is. concurrency: how
    many problems were under way side by side. seconds: wall-clock from the question to the end;
    first_step: to the first committed step, None where there was none. tokens, steps: of the
    committed text, answer included. finish: how the run ended, or "failed". attempt: 1, or more
    where a worker was lost before. share: where problems are side by side, its part of the
    wall-clock that they took together; else None.
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

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What no other sample of a bench has."""
        return (self.task, self.index, self.method, self.concurrency)

    @property
    def complete(self) -> bool:
        """Whether the reasoning came to its own end."""
        return self.finish in ("answer", "stop")

    @property
    def wall(self) -> float:
        """Seconds of wall-clock that this problem cost, which add up."""
        return self.seconds if self.share is None else self.share

    def to_json(self) -> dict[str, Any]:
        """Plain values; spans as lists, since most of a file is made of them."""
        row: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**row, "spans": [_row(span) for span in self.spans]}

    @classmethod
    def from_line(cls, line: str | bytes, number: int) -> Self:
        """The sample in a line of a file of samples; number: of the line, from 1.

        Raises:
            ValueError: it is none; the message names the line.
        """
        try:
            return cls.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} is no sample of a bench ({error})") from error

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The sample that `to_json` wrote.

        Raises:
            ValueError, TypeError: it did not write this.
        """
        return cls(**{**row, "spans": tuple(Span(*span) for span in row["spans"])})


def _row(span: Span) -> list[Any]:
    values = asdict(span)
    rounded = {k: round(values[k], 6) for k in ("start", "end")}
    return list({**values, **rounded}.values())


def spans_of(bars: Iterable[Bar], check: Check) -> tuple[Span, ...]:
    """The bars of a trace, with what the task's checker says of each complete written step."""
    ordered = sorted(bars, key=lambda bar: (bar.start, bar.lane))
    drafted = sorted(
        (bar for bar in ordered if bar.lane == "draft" and bar.text), key=lambda bar: bar.end
    )
    return tuple(_span(bar, drafted, check) for bar in ordered)


def _judged(call: Bar, place: int, drafted: Sequence[Bar]) -> int:
    """Tokens of a step that a call was about: of those at its position, the one with its verdict.

    Else the last that was complete by then: a call may have grown after it was opened.
    """
    there = [s for s in drafted if s.positions[0] == call.positions[place] and s.end <= call.end]
    verdict = call.verdicts[place : place + 1]
    same = [step for step in there if verdict and step.verdicts == verdict]
    return (same or there)[-1].tokens if there else 0


def _span(bar: Bar, drafted: Sequence[Bar], check: Check) -> Span:
    """drafted: complete steps of the draft, by when they were."""
    position = bar.positions[0]
    if bar.lane == "judge":
        tokens = sum(_judged(bar, place, drafted) for place in range(len(bar.positions)))
        return Span("judge", bar.start, bar.end, bar.fate, position, len(bar.positions), tokens)
    ratio = bar.verdicts[0].score if bar.verdicts and bar.verdicts[0].evidence else None
    right = check(position, bar.text) if bar.text else None
    kind = bar.verdicts[0].kind if bar.verdicts else None
    return Span(bar.lane, bar.start, bar.end, bar.fate, position, 1, bar.tokens, ratio, right, kind)


def first_step(result: Result) -> float | None:
    """Seconds to the first committed step."""
    return next((e.time for e in result.events if isinstance(e, StepCommitted)), None)


def trace_of(result: Result, check: Check) -> tuple[Span, ...]:
    """The spans of a finished run."""
    return spans_of(lay_out(result.events), check)
