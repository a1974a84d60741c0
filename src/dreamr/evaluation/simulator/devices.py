"""Devices in virtual time: the jobs on them, and how concurrent jobs slow each other down.

A job is a *stream* (a step of a lane, decoded token by token) or a *pass* (a judge call or the
prefill of a prompt), which cannot be interrupted. Progress is fluid: a stream gets a continuous
share of its device and not time slices of single tokens. Token boundaries matter only to a pass
that waits for the current token.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dreamr._option_specs import BadOption
from dreamr.evaluation.simulator.clock import Clock
from dreamr.steps import Role

_NOTHING_LEFT = 1e-10  # seconds; covers rounding errors


class BadScenario(BadOption):
    """A simulation with invalid values."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a simulation, and how jobs share them.

    The target judges on its own devices.

    Attributes:
        colocated: Whether draft and target share one device, each with half of its time. Otherwise
            each has its own.
        serialize: Whether a pass has its device to itself while streams wait, as in the local
            worker. Otherwise passes and streams run concurrently.
        slowdown: Cost of concurrency. n concurrent jobs of one model take 1 + slowdown * (n - 1)
            times as long as one job: 0 is a free batch, 1 is plain time slicing.
        target: Devices per target (tensor parallel). From two on, the target is target * efficiency
            times as fast as on one.
        efficiency: Tensor-parallel efficiency, in (0, 1].
        replicas: Number of such sets of devices. Each request runs on one of them.

    Raises:
        BadScenario: If a number is below 1, the efficiency outside (0, 1], or the slowdown below 0.
    """

    colocated: bool = False
    serialize: bool = False
    slowdown: float = 0.0
    target: int = 1
    efficiency: float = 0.8
    replicas: int = 1

    def __post_init__(self) -> None:
        if self.target < 1 or self.replicas < 1:
            raise BadScenario("the numbers of target devices and of replicas must be at least 1")
        if not 0 < self.efficiency <= 1:
            raise BadScenario(
                f"the efficiency must be above 0 and at most 1, not {self.efficiency:g}"
            )
        if not self.slowdown >= 0:
            raise BadScenario(f"the slowdown must be at least 0, not {self.slowdown:g}")

    @property
    def speed(self) -> float:
        """Speed of the target relative to one device."""
        return 1.0 if self.target == 1 else self.target * self.efficiency

    @property
    def count(self) -> int:
        """Number of devices in all replicas."""
        return self.replicas * (self.target if self.colocated else self.target + 1)


@dataclass(eq=False, slots=True)
class Job:
    """A unit of work of one model.

    Attributes:
        model: The model that works.
        size: Returns the seconds that the job takes alone; called when the device begins it.
        done: Called when the job is complete.
        token: Seconds per token of a stream; 0 for a pass.
        begun: Whether the device has begun the job.
        left: Seconds of work that remain once the job has begun.
    """

    model: Role
    size: Callable[[], float]
    done: Callable[[], None]
    token: float = 0.0
    begun: bool = False
    left: float = 0.0

    @property
    def is_pass(self) -> bool:
        """Whether the job is a pass and not a stream."""
        return self.token == 0

    @property
    def spent(self) -> float:
        """Seconds of work done, as of the last time its device updated its jobs."""
        return self.size() - self.left if self.begun else 0.0


class Device:
    """A device that works on jobs in virtual time."""

    def __init__(self, clock: Clock, devices: Devices) -> None:
        self._clock, self._serialize, self._slowdown = clock, devices.serialize, devices.slowdown
        self._jobs: list[Job] = []
        self._serving: list[tuple[Job, float]] = []  # running jobs with their slowdown factors
        self._settled = 0.0
        self._hold = 0.0  # seconds until the current token ends, for which a pass waits
        self._plans = 0

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._settle()
        if self._serialize and job.is_pass and not any(other.is_pass for other in self._jobs):
            self._hold = self._current_token()
        self._jobs.append(job)
        self._plan()

    def withdraw(self, job: Job) -> None:
        """Cancel a job.

        With `serialize`, a pass that has begun occupies the device to its end; its result is
        dropped.
        """
        if job not in self._jobs:
            return
        self._settle()
        if self._serialize and job.is_pass and job.begun:
            job.done = _nothing
            return
        self._jobs.remove(job)
        self._plan()

    def _current_token(self) -> float:
        """Return the seconds until the current token is complete.

        With several streams, this is half of their mean seconds per token.
        """
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
        """Update the remaining work of all running jobs to the current time."""
        elapsed, self._settled = self._clock.now - self._settled, self._clock.now
        if elapsed <= 0 or not self._serving:
            return
        for job, slow in self._serving:
            job.left -= elapsed / slow
        self._hold -= elapsed

    def _plan(self) -> None:
        """Choose the jobs that run now and schedule the next completion.

        Earlier schedules become void.
        """
        self._plans += 1
        served = self._served()
        slow = self._slowdowns(served)
        self._serving = [(job, slow[job.model]) for job in served]
        soonest = self._hold if self._hold > _NOTHING_LEFT else math.inf
        for job, times in self._serving:
            if not job.begun:
                job.begun, job.left = True, job.size()
            soonest = min(soonest, job.left * times)
        if served:
            plan = self._plans
            self._clock.after(max(soonest, 0.0), lambda: self._wake(plan))

    def _slowdowns(self, served: list[Job]) -> dict[Role, float]:
        """Return the slowdown factor of each model's jobs relative to running alone."""
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
