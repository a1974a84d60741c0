"""The running lanes and judge calls of one virtual run, and their totals."""

from __future__ import annotations

from dataclasses import dataclass, field

from dreamr.evaluation.simulator.devices import Job
from dreamr.steps import Role, Step


@dataclass(eq=False, slots=True)
class VirtualLane:
    """completes: whether its first step was begun by the target. paused: since when it has had no
    credit. job: the step that it writes, None while it waits. reading: the committed steps that the
    target reads before it, set when the job begins.
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
    writing: int = 0  # tokens of the step that it writes
    reading: range = range(0)


@dataclass(eq=False, slots=True)
class VirtualJudgeCall:
    """waits: for its turn, and can grow meanwhile; a call that reads the prompt itself cannot."""

    number: int
    first: int
    steps: list[Step]
    resamples: int = 0
    job: Job | None = None
    waits: bool = True
    begun: bool = False
    reading: range = range(0)

    def extend(self, steps: tuple[Step, ...]) -> None:
        """Judge these too, if the call waits and has not begun."""
        if self.waits and not self.begun:
            self.steps.extend(steps)

    @property
    def positions(self) -> tuple[int, ...]:
        return tuple(range(self.first, self.first + len(self.steps)))


@dataclass(slots=True)
class Tally:
    """What a run came to. tokens: of the committed text; wasted: written and not committed.

    busy: seconds of work of the draft, the target and the judge, alone on their devices.
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
        return self.ended - self.started
