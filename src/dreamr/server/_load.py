"""How much speculation a loaded target can bear, from what runs have measured.

Speculation spends spare capacity for latency. Where the target has none left, each token that it
writes in vain is one that another request waits for. So as it saturates the hedge goes first, then
the window shrinks, and where even judging costs more than it saves, speculation stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from dreamr._options import RunOptions
from dreamr.trace import (
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    Result,
    Role,
    StepCommitted,
    StepRejected,
)

_SMOOTH = 0.15  # of a mean, how much the newest run counts
_HEDGE_STRETCH = 1.25  # a target's token takes so much longer than alone: no hedge
_WINDOW_STRETCH = 1.75
_SMALL_WINDOW = 2
_STOP, _RESUME = 1.02, 1.12  # predicted speed-ups at which speculation stops, and comes back
_CALM = 1.1  # of a target that takes so little longer than alone, speculation asks what it likes
_ENOUGH = 8  # runs that have to be measured before speculation is given up
_PROBE_EVERY = 16  # runs without speculation between two with it, which measure
_SPECULATES = ("fpsr",)  # the method that can be pared down; others are what somebody asked for


class Level(IntEnum):
    """How much is given up."""

    FULL = 0
    NO_HEDGE = 1
    SMALL_WINDOW = 2
    TARGET_ALONE = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """What a run has measured; None where it had no occasion.

    target, draft: seconds a token, once the first is there. judge: seconds a call. accepted: share
    of the judged steps. step: tokens of a committed step. judged: steps a call.
    """

    target: float | None = None
    draft: float | None = None
    judge: float | None = None
    accepted: float | None = None
    step: float | None = None
    judged: float | None = None


def pace_of(result: Result) -> Pace:
    """What the events of a run say about speed."""
    seconds, tokens = _lanes(result.events)
    calls = _calls(result.events)
    passed = sum(isinstance(e, StepCommitted) and e.verdict is not None for e in result.events)
    refused = sum(isinstance(event, StepRejected) for event in result.events)
    judged = passed + refused
    steps = len(result.steps)
    return Pace(
        target=_ratio(seconds["target"], tokens["target"]),
        draft=_ratio(seconds["draft"], tokens["draft"]),
        judge=_ratio(sum(took for took, _ in calls), len(calls)),
        accepted=_ratio(passed, judged),
        step=_ratio(sum(step.step.tokens for step in result.steps), steps),
        judged=_ratio(sum(count for _, count in calls), len(calls)),
    )


def _ratio(amount: float, count: float) -> float | None:
    return amount / count if count else None


def _lanes(events: Iterable[Event]) -> tuple[dict[Role, float], dict[Role, int]]:
    """Of each role the seconds in which it wrote, from its first token on, and the tokens."""
    seconds: dict[Role, float] = {"draft": 0.0, "target": 0.0}
    tokens: dict[Role, int] = {"draft": 0, "target": 0}
    roles: dict[int, Role] = {}
    idle: dict[int, float] = {}
    paused: dict[int, float] = {}
    for event in events:
        match event:
            case LaneOpened(_, lane, role):
                roles[lane], idle[lane] = role, 0.0
            case LanePaused(time, lane):
                paused[lane] = time
            case LaneResumed(time, lane):
                idle[lane] += time - paused.pop(lane)
            case LaneClosed(time, lane, _, written, began) if began is not None and written > 1:
                idle[lane] += time - paused.pop(lane, time)
                seconds[roles[lane]] += time - began - idle[lane]
                tokens[roles[lane]] += written - 1
    return seconds, tokens


def _calls(events: Iterable[Event]) -> list[tuple[float, int]]:
    """Of each judge call that gave verdicts the seconds, and the steps."""
    began: dict[int, float] = {}
    found: list[tuple[float, int]] = []
    for event in events:
        match event:
            case JudgeStarted(time, call):
                began[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts:
                found.append((time - began[call], len(verdicts)))
    return found


class Load:
    """Says how much speculation the next run should do; `learn` from each that ended.

    Decisions come from measured latencies alone: how much longer the target's token takes than in
    runs that had the target to themselves, and, before speculation is given up, what it would still
    gain at the present latencies of tokens and verdicts.
    """

    def __init__(self, *, aware: bool = True) -> None:
        """Of what runs are asked for; nothing is given up where the gateway is not `aware`."""
        self._aware = aware
        self._pace = Pace()
        self._quiet: float | None = None  # seconds of a target's token in a run with no other
        self._writing: float | None = None  # the same, of runs that do nothing else
        self._stopped = False
        self._runs = 0
        self._alone = 0  # runs since speculation was last measured

    @property
    def token_seconds(self) -> float | None:
        """Of a token of a target that writes alone and for nobody else; None if unknown."""
        return self._writing

    @property
    def stretch(self) -> float:
        """How much longer a token of the target takes now than where nobody else is served."""
        if self._pace.target is None or not self._quiet:
            return 1.0
        return self._pace.target / self._quiet

    @property
    def gain(self) -> float | None:
        """The predicted speed-up of drafting and judging without a hedge; None if unknown.

        A step of n tokens takes the target n t alone. Speculating, drafting and judging go on side
        by side, so the slower of them counts, and a rejected step is written by the target too.
        """
        pace = self._pace
        known = pace.target, pace.draft, pace.judge, pace.accepted, pace.step, pace.judged
        values = [value for value in known if value is not None]
        if len(values) < len(known):
            return None
        target, draft, judge, accepted, step, judged = values
        alone = step * target
        ahead = max(step * draft, judge / judged)
        return alone / (ahead + (1 - accepted) * (alone + judge))

    @property
    def level(self) -> Level:
        """How much the next run should give up."""
        if not self._aware:
            return Level.FULL
        if self._stopped:
            return Level.TARGET_ALONE
        if self.stretch >= _WINDOW_STRETCH:
            return Level.SMALL_WINDOW
        if self.stretch >= _HEDGE_STRETCH:
            return Level.NO_HEDGE
        return Level.FULL

    def shape(self, options: RunOptions) -> tuple[RunOptions, Level]:
        """The options for the next run, and how much they give up."""
        if not self._aware or options.method not in _SPECULATES:
            return options, Level.FULL
        level = self.level
        if level is Level.TARGET_ALONE:
            self._alone += 1
            if self._alone % _PROBE_EVERY == 0:
                level = Level.SMALL_WINDOW
        return _shaped(options, level), level

    def learn(self, result: Result, *, alone: bool) -> None:
        """Take in what a run has measured. alone: whether no other was under way beside it."""
        new = pace_of(result)
        self._pace = Pace(
            target=_mean(self._pace.target, new.target),
            draft=_mean(self._pace.draft, new.draft),
            judge=_mean(self._pace.judge, new.judge),
            accepted=_mean(self._pace.accepted, new.accepted),
            step=_mean(self._pace.step, new.step),
            judged=_mean(self._pace.judged, new.judged),
        )
        if alone:
            self._quiet = _mean(self._quiet, new.target)
            if not result.usage.judge_calls:
                self._writing = _mean(self._writing, new.target)
        self._runs += 1
        self._stopped = self._should_stop()

    def _should_stop(self) -> bool:
        """Whether a loaded target is better left alone. A hedge guards one that has room."""
        gain = self.gain
        if gain is None or self._runs < _ENOUGH:
            return False
        if self._stopped:
            return gain < _RESUME and self.stretch >= _CALM
        return gain < _STOP and self.stretch >= _HEDGE_STRETCH


def _mean(old: float | None, new: float | None) -> float | None:
    if old is None or new is None:
        return old if new is None else new
    return old + _SMOOTH * (new - old)


def _shaped(options: RunOptions, level: Level) -> RunOptions:
    match level:
        case Level.FULL:
            return options
        case Level.NO_HEDGE:
            return replace(options, hedge="never")
        case Level.SMALL_WINDOW:
            return replace(options, hedge="never", window=min(options.window, _SMALL_WINDOW))
        case Level.TARGET_ALONE:
            return replace(options, method="target")
