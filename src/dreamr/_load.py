"""Load control: less speculation on a busy target, and as much as pays on another.

Speculation trades spare capacity for latency. On a saturated target, each discarded token delays
another request. So the fallback is dropped first, then the window shrinks, and speculation stops
when runs take longer than the target alone would. The number of resamples over HTTP follows the
measured costs of the pair. All decisions rest on measurements of runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum

from dreamr._costs import Costs, RunCosts, answer_seconds
from dreamr._means import WEIGHT, moving_mean
from dreamr._options import RunOptions
from dreamr.engines import is_served
from dreamr.runner import RunConfig, RunScope
from dreamr.trace import Event, LaneClosed, LaneOpened, LanePaused, LaneResumed, Result

# Time per target token, relative to an idle server, at which speculation is reduced.
_FALLBACK_STRETCH = 1.15
_WINDOW_STRETCH = 1.75
_SMALL_WINDOW = 2
_STOP, _RESUME = 1.0, 1.1  # measured speed-ups at which speculation stops and resumes
_MIN_RUNS = 6  # measured runs before speculation may stop
_PROBE = 16, 256  # runs without speculation before a probe: initial and largest number
_PROBE_WEIGHT = 0.5  # weight of a probe in the mean speed-up
_MIN_TOKENS = 8  # shorter lanes are not timed: their tokens may have been predicted
_MOST_LOADS = 64  # sets of options whose measurements are kept
_REDUCIBLE = ("fpsr",)  # other methods were requested explicitly


class Level(IntEnum):
    """Reduction of speculation; each level includes the ones before it."""

    FULL = 0
    NO_FALLBACK = 1
    SMALL_WINDOW = 2
    TARGET_ALONE = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Speed of the target in a run; None where the run did not measure it.

    Attributes:
        first: Seconds to the first token after the prompt.
        token: Seconds per further token.
    """

    first: float | None = None
    token: float | None = None


def pace_of(events: Iterable[Event]) -> Pace:
    """Measure the target's speed in a run from its lanes of at least eight tokens."""
    opened: dict[int, float] = {}
    idle: dict[int, float] = {}
    paused: dict[int, float] = {}
    first: float | None = None
    seconds, tokens = 0.0, 0
    first_lane = -1  # the lane that starts after the prompt
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
                if written >= _MIN_TOKENS:
                    idle[lane] += time - paused.pop(lane, time)
                    seconds += time - began - idle[lane]
                    tokens += written - 1
    return Pace(first, seconds / tokens if tokens else None)


class Load:
    """Load control of a pair. `shape` adapts a run's options, `learn` records its latency.

    Decisions rest on three measurements: the time per target token, relative to an idle server, the
    duration of runs relative to an estimate for the target alone, and the costs of steps.

    Attributes:
        costs: Measured costs of the pair.

    Args:
        aware: Whether to reduce speculation; if False, only measurements are kept.
    """

    def __init__(self, *, aware: bool = True) -> None:
        self.costs = Costs()
        self._aware = aware
        self._now = Pace()
        self._quiet: float | None = None  # seconds per target token on an idle server
        self._gain: float | None = None
        self._speculated = 0  # runs that measured the gain
        self._stopped = False
        self._wait, self._alone = _PROBE[0], 0  # runs until the next probe, and since the last

    @property
    def stretch(self) -> float:
        """Time per target token, relative to an idle server."""
        if self._now.token is None or not self._quiet:
            return 1.0
        return max(1.0, self._now.token / self._quiet)

    @property
    def gain(self) -> float | None:
        """Mean speed-up over the target alone at its current speed; None if not measured."""
        return self._gain

    @property
    def level(self) -> Level:
        """Reduction of speculation for the next run."""
        if not self._aware:
            return Level.FULL
        if self._stopped:
            return Level.TARGET_ALONE
        if self.stretch >= _WINDOW_STRETCH:
            return Level.SMALL_WINDOW
        if self.stretch >= _FALLBACK_STRETCH:
            return Level.NO_FALLBACK
        return Level.FULL

    def shape(
        self, options: RunOptions, *, draft_lost: bool = False, only: bool = False
    ) -> tuple[RunOptions, Level]:
        """Adapt the options of the next run to the load and the costs.

        While speculation is stopped, every few runs one speculates as a probe. Deterministic runs
        are left alone: their text must not depend on timing.

        Args:
            options: Options of the request.
            draft_lost: Whether the target has to do without the draft at present.
            only: Whether this is the only run: speculation then takes nothing from others.

        Returns:
            The options and the level that they follow.
        """
        if options.method not in _REDUCIBLE:
            return options, Level.FULL
        if draft_lost:
            return _shaped(options, Level.TARGET_ALONE), Level.TARGET_ALONE
        if options.deterministic:
            return options, Level.FULL
        if options.resamples is None and is_served(options.target):
            options = replace(options, resamples=self.costs.resamples)
        if only:
            return options, Level.FULL
        level = self.level
        if level is Level.TARGET_ALONE:
            self._alone += 1
            if self._alone >= self._wait:
                self._alone = 0
                level = Level.SMALL_WINDOW
        return _shaped(options, level), level

    def alone_seconds(self, result: Result) -> float | None:
        """Estimate the seconds of the target alone for as many tokens, at its current speed.

        Returns:
            Seconds; None if the target was never measured.
        """
        token = self._now.token or self._quiet
        if token is None:
            return None
        tokens = sum(step.step.tokens for step in result.steps)
        return (self._now.first or 0.0) + max(0, tokens - 1) * max(token, self._quiet or 0.0)

    def learn(self, result: Result, *, alone: bool) -> None:
        """Record the measurements of a run.

        Args:
            result: A finished run.
            alone: Whether no other request or audit used the target during the run.
        """
        self.costs = self.costs.after(RunCosts.of(result.events), answer_seconds(result))
        new = pace_of(result.events)
        first = moving_mean(self._now.first, new.first)
        self._now = Pace(first, moving_mean(self._now.token, new.token))
        if alone:
            self._quiet = moving_mean(self._quiet, new.token)
        alone_seconds = self.alone_seconds(result)
        if result.usage.judge_calls and alone_seconds is not None and result.seconds > 0:
            self._learn_gain(alone_seconds / result.seconds)

    def timed(self, config: RunConfig) -> RunConfig:
        """Return the configuration of a run with the usual durations of calls and answers."""
        deadline = config.deadline
        if deadline is not None:
            deadline = replace(deadline, answer_seconds=self.costs.answer)
        return replace(config, usual_judge_seconds=self.costs.judge, deadline=deadline)

    def _learn_gain(self, gain: float) -> None:
        self._speculated += 1
        weight = _PROBE_WEIGHT if self._stopped else WEIGHT
        self._gain = moving_mean(self._gain, gain, weight)
        if self._gain is None or self._speculated < _MIN_RUNS:
            return
        if not self._stopped:
            self._stopped = self._gain < _STOP
        elif self._gain >= _RESUME:
            self._stopped, self._wait = False, _PROBE[0]
        else:
            self._wait = min(_PROBE[1], 2 * self._wait)


@dataclass(frozen=True, slots=True)
class JudgeTimes:
    """A `RunHook` that tells runs how long a judge call usually takes.

    Attributes:
        load: Load control that has measured it.
    """

    load: Load

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """Return the configuration for the run."""
        return self.load.timed(config)

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """No-op: the load learns from runs by itself."""


class Shaped:
    """A run whose options were adapted to the load.

    Attributes:
        options: The adapted options.
    """

    def __init__(self, options: RunOptions, load: Load | None, pair: PairLoad) -> None:
        self.options = options
        self._load, self._pair = load, pair
        self._alone = pair.running == 1

    def timed(self, config: RunConfig) -> RunConfig:
        """Return the configuration of the run with the usual duration of a judge call."""
        return config if self._load is None else self._load.timed(config)

    def learn(self, result: Result) -> None:
        """Record the measurements of the run."""
        if self._load is not None and result.complete:
            self._load.learn(result, alone=self._alone and self._pair.running == 1)


class PairLoad:
    """Load control of all runs in this process on one pair, for each set of options apart.

    Attributes:
        running: Number of open runs.
    """

    def __init__(self) -> None:
        self.running = 0
        self._loads: OrderedDict[RunOptions, Load] = OrderedDict()

    @contextmanager
    def run(self, options: RunOptions) -> Iterator[Shaped]:
        """Count a run as open inside the block, and adapt its options to the load."""
        self.running += 1
        try:
            load = self._load(options)
            if load is None:
                yield Shaped(options, None, self)
            else:
                shaped, _ = load.shape(options, only=self.running == 1)
                yield Shaped(shaped, load, self)
        finally:
            self.running -= 1

    def _load(self, options: RunOptions) -> Load | None:
        if not options.load_aware or options.method not in _REDUCIBLE:
            return None
        # Runs that differ in their seeds and deadlines cost the same.
        key = replace(options, seed=0, deadline=None)
        load = self._loads.setdefault(key, Load())
        self._loads.move_to_end(key)
        if len(self._loads) > _MOST_LOADS:
            self._loads.popitem(last=False)
        return load


def _shaped(options: RunOptions, level: Level) -> RunOptions:
    match level:
        case Level.FULL:
            return options
        case Level.NO_FALLBACK:
            return replace(options, fallback="on-reject")
        case Level.SMALL_WINDOW:
            # Over HTTP, steps that are unlikely to be needed are not judged ahead anyway.
            window = options.window if is_served(options.target) else _SMALL_WINDOW
            window = min(options.window, window)
            return replace(options, fallback="on-reject", window=window)
        case Level.TARGET_ALONE:
            return replace(options, method="target")
