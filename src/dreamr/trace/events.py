"""What happens in a run, as values that can be written down.

Every event carries `time`, seconds since the run started. Positions count the steps of the
assistant's text from 0; lanes and judge calls are numbered from 0 in the order of their opening.
The events alone say everything: usage, and the timeline, are computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dreamr.gate import Verdict
from dreamr.schedules import RunEnd
from dreamr.steps import Role, Step

Option: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened `time` seconds after the run started."""

    time: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """Always the first event. draft, target: the names of the engines, None for one not used."""

    method: str
    draft: str | None
    target: str | None
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaneOpened(Event):
    """An engine begins to write at `position`.

    retry: 1, 2, ... for another try at a step that was rejected.
    """

    lane: int
    role: Role
    position: int
    resample: int = 0


@dataclass(frozen=True, slots=True)
class LanePaused(Event):
    """The lane wrote as many steps as it may for now."""

    lane: int


@dataclass(frozen=True, slots=True)
class LaneResumed(Event):
    """The paused lane goes on."""

    lane: int


@dataclass(frozen=True, slots=True)
class LaneClosed(Event):
    """The lane is over, `tokens` tokens of its model later.

    reason: 'stop' and 'length' as the stream said, 'cancelled' by the schedule, or 'failed'.
    began: when the first piece of its text came, in seconds since the run started; None: never.
    """

    lane: int
    reason: Literal["stop", "length", "cancelled", "failed"]
    tokens: int
    began: float | None = None


@dataclass(frozen=True, slots=True)
class StepReady(Event):
    """A lane completed a step; a drafted one waits for its verdict from now on."""

    lane: int
    role: Role
    position: int
    step: Step


@dataclass(frozen=True, slots=True)
class JudgeStarted(Event):
    """The target is asked about the drafted steps at these consecutive positions.

    And about those that are complete before it begins, as `JudgeEnded` says.
    """

    call: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JudgeEnded(Event):
    """The verdicts, one a position; none where the call was cancelled or failed with `error`.

    positions: of the steps that were judged, or were to be.
    """

    call: int
    positions: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StepCommitted(Event):
    """The step is now part of the text.

    verdict: None where the target wrote it. last: whether the reasoning is complete with it, so
    that it is the answer.
    """

    position: int
    step: Step
    source: Role
    verdict: Verdict | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class StepRejected(Event):
    """The gate refused the drafted step at the frontier."""

    position: int
    step: Step
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StepDiscarded(Event):
    """A complete step was thrown away without a verdict of its own: `why`, for people."""

    position: int
    step: Step
    source: Role
    why: str


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A degradation, or something else that people should know."""

    message: str


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What became of one model's tokens; each is counted once.

    accepted: of the draft, in committed steps. kept: of the target, in committed steps.
    rejected: in steps that the gate refused. cancelled: in steps discarded or never completed.
    """

    accepted: int = 0
    rejected: int = 0
    kept: int = 0
    cancelled: int = 0

    @property
    def written(self) -> int:
        """All tokens that the model decoded."""
        return self.accepted + self.rejected + self.kept + self.cancelled


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a run. judged: drafted steps over all judge calls, cancelled ones included."""

    draft: ModelUsage = ModelUsage()
    target: ModelUsage = ModelUsage()
    judge_calls: int = 0
    judged: int = 0


@dataclass(frozen=True, slots=True)
class CommittedStep:
    """A step of the result. verdict: None where the target wrote it."""

    step: Step
    source: Role
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run.

    answer: the final answer without its marker; where the target ended its turn without one, its
    last step; empty where the run was cut before. finish: 'answer' or 'stop' where reasoning is
    complete, 'length' where a limit on steps or tokens cut it, 'failed' where an engine was lost.
    error: what failed. seconds: wall-clock. events: everything before RunFinished, in order.
    """

    answer: str
    steps: tuple[CommittedStep, ...]
    usage: Usage
    seconds: float
    finish: RunEnd
    error: str | None = None
    events: tuple[Event, ...] = field(default=(), repr=False)

    @property
    def complete(self) -> bool:
        """Whether the target itself ended the reasoning."""
        return self.finish in ("answer", "stop")

    @property
    def text(self) -> str:
        """The whole reasoning: the committed steps, joined."""
        return "".join(committed.step.text for committed in self.steps)


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """Always the last event, after a failure too."""

    result: Result
