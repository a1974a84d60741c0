"""Layout of a trace in time: the bars that a timeline draws on each lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from dreamr.gate import Verdict
from dreamr.steps import Role, Step
from dreamr.trace.events import (
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
)

LaneName: TypeAlias = Literal["draft", "judge", "target"]
Fate: TypeAlias = Literal["accepted", "rejected", "kept", "canceled", "judging"]
LANES: tuple[LaneName, ...] = ("draft", "judge", "target")


@dataclass(frozen=True, slots=True)
class Bar:
    """An uninterrupted span of work on one lane.

    Attributes:
        lane: The lane.
        start: Start, in seconds since the start of the run.
        end: End, in seconds since the start of the run.
        fate: Outcome of the written step, or `judging` for a judge call.
        positions: Positions of the steps.
        tokens: Number of tokens written; 0 for a judge call.
        text: Text of a complete step, else empty.
        verdicts: Verdict on the step, or verdicts of the judge call.
        why: Reason of a rejection or cancellation.
        row: Row within the lane, from 0; work that overlaps on one lane is on different rows.
    """

    lane: LaneName
    start: float
    end: float
    fate: Fate
    positions: tuple[int, ...]
    tokens: int = 0
    text: str = ""
    verdicts: tuple[Verdict, ...] = ()
    why: str = ""
    row: int = 0


@dataclass(slots=True)
class _Writing:
    """An open lane: the position of its current step, and since when it writes it."""

    role: Role
    position: int
    since: float | None
    tokens: int = 0


class _Layout:
    """Converts events to bars, one event at a time."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self._lanes: dict[int, _Writing] = {}
        self._calls: dict[int, JudgeStarted] = {}
        self._open: list[tuple[int, StepReady]] = []  # bars of steps without an outcome so far

    def add(self, event: Event) -> None:
        match event:
            case LaneOpened():
                self._lanes[event.lane] = _Writing(event.role, event.position, event.time)
            case LanePaused():
                self._lanes[event.lane].since = None
            case LaneResumed():
                self._lanes[event.lane].since = event.time
            case StepReady():
                self._write(event)
            case LaneClosed():
                self._close(event)
            case JudgeStarted():
                self._calls[event.call] = event
            case JudgeEnded():
                self._judged(event)
            case StepCommitted():
                fate: Fate = "accepted" if event.source == "draft" else "kept"
                self._settle(event.source, event.position, event.step, fate, event.verdict)
            case StepRejected():
                self._settle("draft", event.position, event.step, "rejected", event.verdict)
            case StepDiscarded():
                self._settle(event.source, event.position, event.step, "canceled", None, event.why)

    def end(self, time: float) -> None:
        """Close the lanes and judge calls that an interrupted trace left open."""
        for lane, writing in list(self._lanes.items()):
            self._close(LaneClosed(time, lane, "canceled", writing.tokens + 1))
        for call in list(self._calls.values()):
            self._judged(JudgeEnded(time, call.call, call.positions, (), "canceled"))

    def _write(self, event: StepReady) -> None:
        writing = self._lanes[event.lane]
        start = event.time if writing.since is None else writing.since
        self._open.append((len(self.bars), event))
        self.bars.append(
            Bar(
                event.role,
                start,
                event.time,
                "canceled",
                (event.position,),
                event.step.tokens,
                event.step.text,
            )
        )
        writing.since = event.time
        writing.position = event.position + 1
        writing.tokens += event.step.tokens

    def _close(self, event: LaneClosed) -> None:
        writing = self._lanes.pop(event.lane)
        unfinished = event.tokens - writing.tokens
        if writing.since is None or unfinished < 1:
            return
        why = "failed" if event.reason == "failed" else "canceled before completion"
        self.bars.append(
            Bar(
                writing.role,
                writing.since,
                event.time,
                "canceled",
                (writing.position,),
                unfinished,
                why=why,
            )
        )

    def _judged(self, event: JudgeEnded) -> None:
        started = self._calls.pop(event.call)
        why = event.error or ("" if event.verdicts else "canceled")
        self.bars.append(
            Bar(
                "judge",
                started.time,
                event.time,
                "judging" if event.verdicts else "canceled",
                event.positions,
                verdicts=event.verdicts,
                why=why,
            )
        )

    def _settle(
        self,
        role: Role,
        position: int,
        step: Step,
        fate: Fate,
        verdict: Verdict | None,
        why: str = "",
    ) -> None:
        for entry in reversed(self._open):
            index, ready = entry
            if (ready.role, ready.position, ready.step) == (role, position, step):
                verdicts = () if verdict is None else (verdict,)
                reason = why or (verdict.reason if verdict else "")
                self.bars[index] = replace(
                    self.bars[index], fate=fate, verdicts=verdicts, why=reason
                )
                self._open.remove(entry)
                return


def lay_out(events: Sequence[Event]) -> tuple[Bar, ...]:
    """Compute the bars of a complete or interrupted trace, sorted by start.

    Bars of one lane and row do not overlap. Takes time linear in the number of events, times the
    number of steps that wait for their outcome.
    """
    layout = _Layout()
    for event in events:
        layout.add(event)
    seconds = duration(events)
    layout.end(seconds)
    return tuple(_stack(sorted(layout.bars, key=lambda bar: (bar.start, bar.end)), seconds))


def duration(events: Sequence[Event]) -> float:
    """Return the seconds from the start of the run to its last event."""
    return events[-1].time if events else 0.0


def rows(bars: Iterable[Bar], lane: LaneName) -> int:
    """Return the number of rows of a lane, at least 1."""
    return 1 + max((bar.row for bar in bars if bar.lane == lane), default=0)


def overlap(bars: Iterable[Bar]) -> float:
    """Return the seconds during which the draft wrote while the target wrote or judged."""
    edges = []
    for bar in bars:
        side = 0 if bar.lane == "draft" else 1
        edges += [(bar.start, 1, side), (bar.end, -1, side)]
    busy, total, before = [0, 0], 0.0, 0.0
    for time, change, side in sorted(edges):
        if all(busy):
            total += time - before
        busy[side] += change
        before = time
    return total


def _stack(bars: Sequence[Bar], seconds: float) -> list[Bar]:
    """Assign each bar to the first free row of its lane.

    Consecutive work is often recorded with a tiny overlap. Overlaps too short to see are ignored.
    """
    invisible = seconds / 500
    free: dict[LaneName, list[float]] = {lane: [] for lane in LANES}
    stacked = []
    for bar in bars:
        ends = free[bar.lane]
        row = next((i for i, end in enumerate(ends) if end <= bar.start + invisible), len(ends))
        ends[row : row + 1] = [bar.end]
        stacked.append(replace(bar, row=row))
    return stacked
