"""Processors in virtual time: what they work on, and how that slows each other down.

A job is a *stream* (a step of some lane, token by token) or a *pass* (a judge call, a prompt that
is read), which cannot be interrupted. Progress is fluid: a stream has a share of its device, not
turns of single tokens; only a pass that has to wait for the token under way looks at tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dreamr._option_specs import BadOption
from dreamr.evaluation.simulator.clock import Clock
from dreamr.steps import Role

_NOTHING_LEFT = 1e-10  # seconds: rounding


class BadScenario(BadOption):
    """A simulation that makes no sense."""


@dataclass(frozen=True, slots=True)
class Devices:
    """Which work shares a processor, and how.

    colocated: draft and target on one device, which they share by halves; else each has its own.
    The target judges on its own. serialize: a pass has the device for itself, and streams wait (one
    thing at a time, judging first, as our local worker does); else it runs beside them.
    slowdown: of jobs of one model side by side: n of them take 1 + slowdown * (n - 1) times as long
    as one. 0 is a batch that costs nothing, 1 sharing by turns. target: how many devices the target
    is spread over; it is target * efficiency times as fast, with one device once. replicas: how
    many such sets there are, each with requests of its own.
    """

    colocated: bool = False
    serialize: bool = False
    slowdown: float = 0.0
    target: int = 1
    efficiency: float = 0.8
    replicas: int = 1

    def __post_init__(self) -> None:
        if self.target < 1 or self.replicas < 1:
            raise BadScenario("devices of the target and replicas must be at least 1")
        if not 0 < self.efficiency <= 1:
            raise BadScenario(f"efficiency must lie in (0, 1], not {self.efficiency:g}")
        if not self.slowdown >= 0:
            raise BadScenario(f"slowdown must be at least 0, not {self.slowdown:g}")

    @property
    def speed(self) -> float:
        """How many times as fast as on one device the target is."""
        return 1.0 if self.target == 1 else self.target * self.efficiency

    @property
    def count(self) -> int:
        """All devices."""
        return self.replicas * (self.target if self.colocated else self.target + 1)


@dataclass(eq=False, slots=True)
class Job:
    """A piece of work of one model.

    size: called when the device begins with it; the seconds that it takes alone. done: called when
    it is complete. token: seconds of one token, 0 for a pass.
    """

    model: Role
    size: Callable[[], float]
    done: Callable[[], None]
    token: float = 0.0
    begun: bool = False
    left: float = 0.0

    @property
    def is_pass(self) -> bool:
        return self.token == 0

    @property
    def spent(self) -> float:
        """Seconds of its work that are done, as of when its device was settled last."""
        return self.size() - self.left if self.begun else 0.0


class Device:
    """One processor."""

    def __init__(self, clock: Clock, devices: Devices) -> None:
        self._clock, self._serialize, self._slowdown = clock, devices.serialize, devices.slowdown
        self._jobs: list[Job] = []
        self._serving: list[tuple[Job, float]] = []  # and how many times as long each takes
        self._settled = 0.0
        self._hold = 0.0  # of the token under way, for which a pass waits
        self._plans = 0

    def submit(self, job: Job) -> None:
        """Begin with the job, as soon as its turn is."""
        self._settle()
        if self._serialize and job.is_pass and not any(other.is_pass for other in self._jobs):
            self._hold = self._token_under_way()
        self._jobs.append(job)
        self._plan()

    def withdraw(self, job: Job) -> None:
        """Give the job up; a pass that has the device for itself goes on, for nobody."""
        if job not in self._jobs:
            return
        self._settle()
        if self._serialize and job.is_pass and job.begun:
            job.done = _nothing
            return
        self._jobs.remove(job)
        self._plan()

    def _token_under_way(self) -> float:
        """Seconds until the present token is there; of several streams, half a token's mean."""
        streams = [job for job in self._jobs if job.begun]
        if len(streams) == 1:
            return streams[0].left % streams[0].token
        return sum(job.token for job in streams) / 2 / len(streams) if streams else 0.0

    def _served(self) -> list[Job]:
        if not self._serialize:
            return self._jobs
        first = next((job for job in self._jobs if job.is_pass), None)
        if first is None:
            return self._jobs
        streams = [job for job in self._jobs if not job.is_pass and job.begun]
        return streams if self._hold > _NOTHING_LEFT and streams else [first]

    def _settle(self) -> None:
        """Note the progress of all jobs since the last time."""
        elapsed, self._settled = self._clock.now - self._settled, self._clock.now
        if elapsed <= 0 or not self._serving:
            return
        for job, slow in self._serving:
            job.left -= elapsed / slow
        self._hold -= elapsed

    def _plan(self) -> None:
        """Serve whose turn it is, and put down when something will be complete.

        What was put down before is void.
        """
        self._plans += 1
        served = self._served()
        slow = self._slow(served)
        self._serving = [(job, slow[job.model]) for job in served]
        soonest = self._hold if self._hold > _NOTHING_LEFT else math.inf
        for job, times in self._serving:
            if not job.begun:
                job.begun, job.left = True, job.size()
            soonest = min(soonest, job.left * times)
        if served:
            plan = self._plans
            self._clock.after(max(soonest, 0.0), lambda: self._wake(plan))

    def _slow(self, served: list[Job]) -> dict[Role, float]:
        """For each model how many times as long its jobs take as each would alone."""
        models = {job.model for job in served}
        if len(models) < 2:
            return dict.fromkeys(models, 1 + self._slowdown * (len(served) - 1))
        counts = Counter(job.model for job in served)
        return {m: len(counts) * (1 + self._slowdown * (n - 1)) for m, n in counts.items()}

    def _wake(self, plan: int) -> None:
        if plan != self._plans:
            return
        self._settle()
        over = [job for job, _ in self._serving if job.left <= _NOTHING_LEFT]
        for job in over:
            self._jobs.remove(job)
        self._plan()
        for job in over:
            job.done()


def _nothing() -> None:
    pass
