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
from statistics import fmean
from typing import Protocol

from dreamr._costs import Costs, RunCosts, answer_seconds
from dreamr._means import moving_mean
from dreamr._options import RunOptions
from dreamr._phases import Phases
from dreamr.engines import Engine, is_served
from dreamr.runner import RunConfig, RunScope
from dreamr.trace import Event, LaneClosed, LaneOpened, LanePaused, LaneResumed, Result

# Time per target token, relative to an idle server, at which speculation is reduced.
_FALLBACK_STRETCH = 1.15
_WINDOW_STRETCH = 1.75
_SMALL_WINDOW = 2
_SURE = 1.1  # speed-up over an idle target from which speculation needs no comparison
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


class Concurrency(Protocol):
    """Knows how many runs are open."""

    @property
    def running(self) -> int:
        """Number of open runs."""
        ...


class Load:
    """Load control of a pair. `run` adapts a run's options and records its latency.

    Decisions rest on three measurements: the time per target token, relative to an idle server, the
    seconds of a step with speculation and without it, and the costs of steps.

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
        self._estimate: float | None = None  # mean of speed-ups over the estimated target alone
        self._coarse_cache = False
        self._phases = Phases()

    @property
    def stretch(self) -> float:
        """Time per target token, relative to an idle server."""
        if self._now.token is None or not self._quiet:
            return 1.0
        return max(1.0, self._now.token / self._quiet)

    @property
    def gain(self) -> float | None:
        """Mean speed-up over the target alone, measured or estimated; None if unknown."""
        return self._phases.speedup or self._estimate

    @property
    def level(self) -> Level:
        """Reduction of speculation for the next run."""
        if not self._aware:
            return Level.FULL
        return self._level(self._phases.speculates)

    def _level(self, speculates: bool) -> Level:
        if not speculates:
            return Level.TARGET_ALONE
        if self.stretch >= _WINDOW_STRETCH:
            return Level.SMALL_WINDOW
        if self.stretch >= _FALLBACK_STRETCH:
            return Level.NO_FALLBACK
        return Level.FULL

    @contextmanager
    def run(
        self,
        options: RunOptions,
        *,
        concurrency: Concurrency,
        draft_lost: bool = False,
        spare: bool = False,
        coarse_cache: bool = False,
    ) -> Iterator[Shaped]:
        """Adapt the options of a run to the load and the costs, and measure it inside the block.

        Deterministic runs are left alone: their text must not depend on timing.

        Args:
            options: Options of the request.
            concurrency: Knows the number of open runs on the pair, this one included.
            draft_lost: Whether the target has to do without the draft at present.
            spare: Whether a run without others speculates whatever was measured.
            coarse_cache: Whether judge calls read much of a prompt again (see
                `Capabilities.coarse_cache`), and so slow the target by themselves.
        """
        self._coarse_cache = coarse_cache
        place = shaped = None
        try:
            level = Level.FULL
            if options.method in _REDUCIBLE and not options.deterministic:
                if options.resamples is None and is_served(options.target):
                    options = replace(options, resamples=self.costs.resamples)
                only = spare and concurrency.running == 1
                kind = False if draft_lost else True if only or not self._aware else None
                place = self._phases.begin(concurrency.running, speculates=kind)
                if self._aware and not only:
                    level = self._level(place.speculates)
            if draft_lost and options.method in _REDUCIBLE:
                level = Level.TARGET_ALONE
            shaped = Shaped(_shaped(options, level), level, self, concurrency)
            yield shaped
        finally:
            if place is not None:
                step = None if shaped is None else shaped.step
                sure = self._estimate is not None and self._estimate >= _SURE
                self._phases.end(place, step, surely_pays=sure)

    def alone_seconds(self, result: Result) -> float | None:
        """Estimate the seconds of the target alone for as many steps or tokens.

        Returns:
            Seconds; None if the target was never measured.
        """
        step = self._phases.alone_step
        if step is not None:
            return step * len(result.steps)
        token = self._quiet or self._now.token
        if token is None:
            return None
        return self._seconds_at(token, result)

    def learn(self, result: Result, *, alone: bool) -> None:
        """Record the measurements of a run.

        Args:
            result: A finished run.
            alone: Whether no other request or audit used the target during the run.
        """
        if result.deadline_stages:  # it verified less, so only its answer is like that of others
            answer = moving_mean(self.costs.answer, answer_seconds(result))
            self.costs = replace(self.costs, answer=answer)
            return
        self.costs = self.costs.after(RunCosts.of(result.events), answer_seconds(result))
        new = pace_of(result.events)
        first = moving_mean(self._now.first, new.first)
        self._now = Pace(first, moving_mean(self._now.token, new.token))
        if alone:
            self._quiet = moving_mean(self._quiet, new.token)
        # Judging may be what slows the target at present.
        token = self._quiet or (None if self._coarse_cache else self._now.token)
        if result.usage.judge_calls and result.seconds > 0 and token is not None:
            seconds = self._seconds_at(token, result)
            self._estimate = moving_mean(self._estimate, seconds / result.seconds)

    def timed(self, config: RunConfig) -> RunConfig:
        """Return the configuration of a run with the usual durations of calls and answers."""
        deadline = config.deadline
        if deadline is not None:
            deadline = replace(deadline, answer_seconds=self.costs.answer)
        return replace(config, usual_judge_seconds=self.costs.judge, deadline=deadline)

    def _seconds_at(self, token: float, result: Result) -> float:
        tokens = sum(step.step.tokens for step in result.steps)
        return (self._now.first or 0.0) + max(0, tokens - 1) * token


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
        level: The level that they follow.
        step: Mean seconds per step; None before it is measured.
    """

    def __init__(
        self, options: RunOptions, level: Level, load: Load | None, concurrency: Concurrency
    ) -> None:
        self.options, self.level = options, level
        self.step: float | None = None
        self._steps: list[float] = []
        self._load, self._concurrency = load, concurrency
        self._alone = concurrency.running == 1

    def timed(self, config: RunConfig) -> RunConfig:
        """Return the configuration of the run with the usual duration of a judge call."""
        return config if self._load is None else self._load.timed(config)

    def learn(self, result: Result, *, undisturbed: bool = True) -> None:
        """Record the measurements of the run, or of one of several, unless it was cut short.

        Args:
            result: Its result.
            undisturbed: Whether nothing else, such as an audit, used the target meanwhile.
        """
        if self._load is None or not result.complete:
            return
        alone = undisturbed and self._alone and self._concurrency.running == 1
        self._load.learn(result, alone=alone)
        if result.steps:
            self._steps.append(result.seconds / len(result.steps))
            self.step = fmean(self._steps)


class PairLoad:
    """Load control of all runs in this process on one pair, for each set of options apart.

    Attributes:
        running: Number of open runs.
    """

    def __init__(self) -> None:
        self.running = 0
        self._loads: OrderedDict[RunOptions, Load] = OrderedDict()

    @contextmanager
    def run(self, options: RunOptions, target: Engine | None = None) -> Iterator[Shaped]:
        """Count a run as open inside the block, and adapt its options to the load.

        Args:
            options: Options of the run.
            target: The model that judges, None if there is none.
        """
        self.running += 1
        try:
            load = self._load(options)
            if load is None:
                yield Shaped(options, Level.FULL, None, self)
            else:
                coarse = target is not None and target.capabilities.coarse_cache
                with load.run(options, concurrency=self, spare=True, coarse_cache=coarse) as shaped:
                    yield shaped
        finally:
            self.running -= 1

    def _load(self, options: RunOptions) -> Load | None:
        if options.method not in _REDUCIBLE:
            return None
        # Runs that differ in their seeds and deadlines cost the same.
        key = replace(options, seed=0, deadline=None)
        load = self._loads.setdefault(key, Load(aware=options.load_aware))
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
