"""How much speculation a loaded target can bear, from what runs have measured.

Speculation spends spare capacity for latency. Where the target has none left, each token that it
writes in vain is one that another request waits for. So as it saturates the fallback goes first,
then the window shrinks, and where runs take longer than the target alone would, speculation stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from dreamr._options import RunOptions
from dreamr.trace import Event, LaneClosed, LaneOpened, LanePaused, LaneResumed, Result

_SMOOTH = 0.15  # of a mean, how much the newest run counts
_FALLBACK_STRETCH = 1.15  # a target's token takes so much longer than alone: no fallback
_WINDOW_STRETCH = 1.75
_SMALL_WINDOW = 2
_STOP, _RESUME = 1.0, 1.1  # measured speed-ups at which speculation stops, and comes back
_ENOUGH = 6  # runs that have to be measured before speculation is given up
_PROBE = 16, 256  # runs without speculation until one looks again: at first, and at most
_PROBE_WEIGHT = 0.5  # of one that looks
_PLENTY = 8  # tokens: of fewer, a lane says little; they may have been foreseen
_SPECULATES = ("fpsr",)  # the method that can be pared down; others are what somebody asked for


class Level(IntEnum):
    """How much is given up."""

    FULL = 0
    NO_FALLBACK = 1
    SMALL_WINDOW = 2
    TARGET_ALONE = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """What a run shows of the target's pace; None where it had no occasion.

    first: seconds until its first token behind the question. token: seconds of each further one.
    """

    first: float | None = None
    token: float | None = None


def pace_of(events: Iterable[Event]) -> Pace:
    """The target's pace in a run, from lanes long enough to tell."""
    opened: dict[int, float] = {}
    idle: dict[int, float] = {}
    paused: dict[int, float] = {}
    first: float | None = None
    seconds, tokens = 0.0, 0
    first_lane = -1  # the lane that begins behind the question
    for event in events:
        match event:
            case LaneOpened(time, lane, "target", position):
                opened[lane], idle[lane] = time, 0.0
                first_lane = lane if position == 0 and first_lane < 0 else first_lane
            case LanePaused(time, lane) if lane in opened:
                paused[lane] = time
            case LaneResumed(time, lane) if lane in opened:
                idle[lane] += time - paused.pop(lane)
            case LaneClosed(time, lane, _, written, began) if lane in opened and began is not None:
                if lane == first_lane:
                    first = began - opened[lane]
                if written >= _PLENTY:
                    idle[lane] += time - paused.pop(lane, time)
                    seconds += time - began - idle[lane]
                    tokens += written - 1
    return Pace(first, seconds / tokens if tokens else None)


class Load:
    """Says how much speculation the next run should do; `learn` from each that ended.

    Decisions come from measured latencies alone: how much longer the target's token takes than
    where nobody else is served, and how long runs took beside what the target alone would have.
    """

    def __init__(self, *, aware: bool = True) -> None:
        """Of what runs are asked for; nothing is given up where the gateway is not `aware`."""
        self._aware = aware
        self._now = Pace()
        self._quiet: float | None = None  # seconds of a token where nobody else is served
        self._gain: float | None = None
        self._speculated = 0  # runs that measured it
        self._stopped = False
        self._wait, self._alone = _PROBE[0], 0  # runs until one looks again, and since

    @property
    def stretch(self) -> float:
        """How much longer a token of the target takes now than where nobody else is served."""
        if self._now.token is None or not self._quiet:
            return 1.0
        return max(1.0, self._now.token / self._quiet)

    @property
    def gain(self) -> float | None:
        """How many times as fast runs are as the target alone would be at its present pace."""
        return self._gain

    @property
    def level(self) -> Level:
        """How much the next run should give up."""
        if not self._aware:
            return Level.FULL
        if self._stopped:
            return Level.TARGET_ALONE
        if self.stretch >= _WINDOW_STRETCH:
            return Level.SMALL_WINDOW
        if self.stretch >= _FALLBACK_STRETCH:
            return Level.NO_FALLBACK
        return Level.FULL

    def shape(self, options: RunOptions) -> tuple[RunOptions, Level]:
        """The options for the next run, and how much they give up."""
        if options.method not in _SPECULATES:
            return options, Level.FULL
        level = self.level
        if level is Level.TARGET_ALONE:
            self._alone += 1
            if self._alone >= self._wait:
                self._alone = 0
                level = Level.SMALL_WINDOW
        return _shaped(options, level), level

    def alone_seconds(self, result: Result) -> float | None:
        """How long the target alone would have taken for as many tokens, now; None if unknown."""
        token = self._now.token or self._quiet
        if token is None:
            return None
        tokens = sum(step.step.tokens for step in result.steps)
        return (self._now.first or 0.0) + max(0, tokens - 1) * max(token, self._quiet or 0.0)

    def learn(self, result: Result, *, alone: bool) -> None:
        """Take in what a run has measured. alone: whether no other was under way beside it."""
        new = pace_of(result.events)
        self._now = Pace(_mean(self._now.first, new.first), _mean(self._now.token, new.token))
        if alone:
            self._quiet = _mean(self._quiet, new.token)
        alone_seconds = self.alone_seconds(result)
        if result.usage.judge_calls and alone_seconds is not None and result.seconds > 0:
            self._learn_gain(alone_seconds / result.seconds)

    def _learn_gain(self, gain: float) -> None:
        self._speculated += 1
        self._gain = _mean(self._gain, gain, _PROBE_WEIGHT if self._stopped else _SMOOTH)
        if self._gain is None or self._speculated < _ENOUGH:
            return
        if not self._stopped:
            self._stopped = self._gain < _STOP
        elif self._gain >= _RESUME:
            self._stopped, self._wait = False, _PROBE[0]
        else:
            self._wait = min(_PROBE[1], 2 * self._wait)


def _mean(old: float | None, new: float | None, weight: float = _SMOOTH) -> float | None:
    if old is None or new is None:
        return old if new is None else new
    return old + weight * (new - old)


def _shaped(options: RunOptions, level: Level) -> RunOptions:
    match level:
        case Level.FULL:
            return options
        case Level.NO_FALLBACK:
            return replace(options, fallback="on-reject")
        case Level.SMALL_WINDOW:
            return replace(options, fallback="on-reject", window=min(options.window, _SMALL_WINDOW))
        case Level.TARGET_ALONE:
            return replace(options, method="target")
