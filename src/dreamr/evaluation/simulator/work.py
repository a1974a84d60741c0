"""Lanes and judge calls of one virtual run, and its totals."""

from __future__ import annotations

from dataclasses import dataclass, field

from dreamr.evaluation.simulator.devices import Job
from dreamr.steps import Role, Step


@dataclass(eq=False, slots=True)
class VirtualLane:
    """A lane of a virtual run.

    Attributes:
        number: Number of the lane.
        role: The model that writes.
        position: Position of the current step.
        credit: Steps that it may still write.
        room: Limit of its tokens.
        completes: Whether the next step completes one that the target began.
        resample: Number of the resample that it writes, or 0.
        tokens: Tokens of its completed steps.
        fresh: Whether it has not begun a step yet.
        paused: Time since which it has no credit.
        job: The step that it writes, or None while it waits.
        writing: Tokens of that step.
        reading: Committed steps that the target reads before it, set when the job begins.
    """

    number: int
    role: Role
    position: int
    credit: int
    room: int
    completes: bool = False
    resample: int = 0
    tokens: int = 0
    fresh: bool = True
    paused: float | None = None
    job: Job | None = None
    writing: int = 0
    reading: range = range(0)


@dataclass(eq=False, slots=True)
class VirtualJudgeCall:
    """A judge call of a virtual run.

    Attributes:
        number: Number of the call.
        first: Position of the first candidate.
        steps: The candidates.
        resamples: Number of the resample that it judges, or 0.
        job: Its job on the device.
        waits: Whether candidates can be added before it begins. A call that itself reads the prompt
            counts as begun.
        begun: Whether it has begun.
        reading: Committed steps that the target reads before the candidates.
    """

    number: int
    first: int
    steps: list[Step]
    resamples: int = 0
    job: Job | None = None
    waits: bool = True
    begun: bool = False
    reading: range = range(0)

    def extend(self, steps: tuple[Step, ...]) -> None:
        """Add candidates if the call has not begun."""
        if self.waits and not self.begun:
            self.steps.extend(steps)

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the candidates."""
        return tuple(range(self.first, self.first + len(self.steps)))


@dataclass(slots=True)
class Tally:
    """Totals of a run.

    Attributes:
        started: Virtual time of its start, in seconds.
        ended: Virtual time of its end, in seconds.
        steps: Committed steps.
        tokens: Committed tokens.
        accepted: Accepted steps.
        rejected: Rejected steps.
        judge_calls: Judge calls.
        wasted: Tokens written but not committed.
        busy: Seconds of work of 'draft', 'target' and 'judge', as if alone on their devices.
    """

    started: float = 0.0
    ended: float = 0.0
    steps: int = 0
    tokens: int = 0
    accepted: int = 0
    rejected: int = 0
    judge_calls: int = 0
    wasted: int = 0
    busy: dict[str, float] = field(
        default_factory=lambda: {"draft": 0.0, "target": 0.0, "judge": 0.0}
    )

    @property
    def seconds(self) -> float:
        """Duration in seconds of virtual time."""
        return self.ended - self.started
