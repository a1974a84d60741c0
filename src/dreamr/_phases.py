"""Whether speculation pays while several runs share a target, measured in phases.

Runs that speculate slow those beside them, so a single run tells little: beside a target that is
busy judging, the target alone seems slow too. Therefore all runs of a phase are of one kind. A
phase is measured by the runs that begin first after those of the other kind have ended. All of them
are waited for, since the first to end are the fastest.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from statistics import fmean

_CONCURRENCY = (2, 6, 24, 96)  # numbers of concurrent runs at which ranges begin
_LEAST = 6  # runs by which a phase is measured, or as many as are open
_HOPELESS = 2, 1.5  # measured runs of a trial that ends early, and how many times slower they are
_WAIT = 4, 4, 256  # measurements between trials: at first, growth with each, at most
_BETTER = 1.05  # how many times faster the other kind must be


@dataclass(slots=True)
class _Group:
    """The runs by which a phase is measured.

    Attributes:
        size: Number of runs.
        begun: Number of those that have begun.
        ended: Number of those that have ended.
        steps: Seconds per step of those that were measured.
    """

    size: int = _LEAST
    begun: int = 0
    ended: int = 0
    steps: list[float] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.ended >= self.size


@dataclass(slots=True)
class _Range:
    """What is known of runs in a range of concurrency.

    Attributes:
        speculates: Kind of the present phase.
        trial: Whether the phase tries the kind that was slower, or unknown, before.
        group: Runs by which it is measured at present.
        groups: Number of complete groups of the phase.
        seconds: Seconds per step, by kind, of its latest group.
        wait: Number of groups until the next trial.
    """

    speculates: bool = True
    trial: bool = False
    group: _Group = field(default_factory=_Group)
    groups: int = 0
    seconds: dict[bool, float] = field(default_factory=dict)
    wait: int = _WAIT[0]

    def close(self, *, surely_pays: bool) -> None:
        """Begin another group, and another phase, if it is time."""
        steps = self.group.steps
        mean = fmean(steps) if steps else None
        before = self.seconds.get(not self.speculates)
        least, times = _HOPELESS
        if self.trial and mean and before and len(steps) >= least and mean > times * before:
            self.seconds[self.speculates] = mean
            self._settle(better=False)
            return
        if not self.group.complete:
            return
        self.group = _Group()
        if mean is None:
            return
        self.seconds[self.speculates] = mean
        self.groups += 1
        if self.trial and before is not None:
            self._settle(better=_BETTER * mean <= before)
        elif not (self.speculates and surely_pays) and (before is None or self.groups >= self.wait):
            self._begin(not self.speculates, trial=True)

    def _settle(self, *, better: bool) -> None:
        first, growth, most = _WAIT
        self.wait = first if better else min(most, growth * self.wait)
        self._begin(self.speculates if better else not self.speculates, trial=False)

    def _begin(self, kind: bool, *, trial: bool) -> None:
        self.speculates, self.trial = kind, trial
        self.group, self.groups = _Group(), 0


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A run's place in the phases.

    Attributes:
        speculates: Whether the run speculates.
        concurrency: Index of the range of concurrency.
        group: The runs that it is measured with, None if it is not measured.
    """

    speculates: bool
    concurrency: int
    group: _Group | None


class Phases:
    """Phases of runs that share a target."""

    def __init__(self) -> None:
        self._ranges = [_Range() for _ in range(len(_CONCURRENCY) + 1)]
        self._now = 0
        self._open = {True: 0, False: 0}

    @property
    def speculates(self) -> bool:
        """Whether the latest phase is one with speculation."""
        return self._ranges[self._now].speculates

    @property
    def speedup(self) -> float | None:
        """Measured speed-up over the target alone with as many runs as now; None if unknown."""
        seconds = self._ranges[self._now].seconds
        return seconds[False] / seconds[True] if len(seconds) == 2 else None

    @property
    def alone_step(self) -> float | None:
        """Seconds of a step of the target alone with as many runs as now; None if unknown."""
        return self._ranges[self._now].seconds.get(False)

    def begin(self, running: int, *, speculates: bool | None = None) -> Place:
        """Begin a run.

        Args:
            running: Number of open runs, this one included.
            speculates: Whether it speculates; None: as the phase says.
        """
        self._now = bisect(_CONCURRENCY, running)
        present = self._ranges[self._now]
        kind = present.speculates if speculates is None else speculates
        group = None
        if kind == present.speculates and not self._open[not kind]:
            if not present.group.begun:
                present.group.size = max(_LEAST, running)
            if present.group.begun < present.group.size:
                group = present.group
                group.begun += 1
        self._open[kind] += 1
        return Place(kind, self._now, group)

    def end(self, place: Place, step: float | None, *, surely_pays: bool = False) -> None:
        """End a run.

        Args:
            place: Its place.
            step: Its seconds per step; None if it was not measured.
            surely_pays: Whether speculation is known to be faster without a comparison.
        """
        self._open[place.speculates] -= 1
        if place.group is None:
            return
        place.group.ended += 1
        if step is not None:
            place.group.steps.append(step)
        present = self._ranges[place.concurrency]
        if present.group is place.group:
            present.close(surely_pays=surely_pays)
