"""What a schedule is told and what it says.

A schedule is a pure state machine: no I/O, no clock, no tasks. Its driver tells it one signal at a
time and carries out the commands that it returns, in order. The same object runs in production,
in virtual time and in tests.

A lane is a stream that some engine writes from a prefix, cut into steps. It has a *credit* of
steps: after so many it neither writes nor says anything until it is granted more. Credit is given
beforehand, so that no lane runs ahead while its last step is still on the way to the schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from dreamr.gate import Verdict
from dreamr.steps import Finish, Role, Step

RunEnd: TypeAlias = Literal["answer", "stop", "length", "failed"]


@dataclass(frozen=True, slots=True)
class StepDone:
    """The lane wrote a step.

    finish: set where the stream is known to have ended with it; the lane is then over.
    verdict: on a drafted step about which the target need not be asked.
    """

    lane: int
    step: Step
    finish: Finish | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class LaneEnded:
    """The lane's stream ended without another step; the lane is over."""

    lane: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class LaneFailed:
    """The lane is gone. lost: no further call of its engine can succeed."""

    lane: int
    message: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a judge call: one for each candidate that it was opened with.

    And for those of the later ones (`ExtendJudge`) that came in time.
    """

    call: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class JudgeFailed:
    """A judge call gave no verdicts. lost: no further call of the target can succeed."""

    call: int
    message: str
    lost: bool = False


Signal: TypeAlias = StepDone | LaneEnded | LaneFailed | Judged | JudgeFailed


@dataclass(frozen=True, slots=True)
class OpenLane:
    """Let `role` continue the prefix, for `credit` steps and at most `max_tokens` tokens.

    The prefix is the committed text, or goes on with drafted steps that nobody has judged yet.
    guess: how the lane may well begin; an engine that can check tokens in one pass does.
    begun: how the lane's first step begins; it is told whole, with this in front.
    resample: 1, 2, ... for another candidate for a rejected step, drawn otherwise than the first.
    """

    lane: int
    role: Role
    prefix: tuple[str, ...]
    credit: int
    max_tokens: int
    guess: str = ""
    begun: str = ""
    resample: int = 0


@dataclass(frozen=True, slots=True)
class GrantSteps:
    """Let the lane write `steps` more steps."""

    lane: int
    steps: int


@dataclass(frozen=True, slots=True)
class CloseLane:
    """Cancel the lane; what it still says is ignored."""

    lane: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge consecutive candidates; candidate i follows the prefix and those before it.

    others: what the target wrote in the place of each, where the question is whether they mean the
    same. resamples: the number of the candidate after a rejected step, 0 for the first.
    """

    call: int
    prefix: tuple[str, ...]
    candidates: tuple[Step, ...]
    others: tuple[str, ...] = ()
    resamples: int = 0


@dataclass(frozen=True, slots=True)
class ExtendJudge:
    """Judge these too, after the call's candidates, if the engine has not begun with it.

    An engine that writes and judges in turns lets calls wait; by its turn a call can have grown.
    """

    call: int
    candidates: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CancelJudge:
    """The verdicts are not wanted any more."""

    call: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The step is part of the text.

    verdict: None where the target wrote it. last: whether the reasoning is complete with it.
    """

    position: int
    step: Step
    source: Role
    verdict: Verdict | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """The gate refused the step."""

    position: int
    step: Step
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Discard:
    """The complete step is discarded without a verdict of its own."""

    position: int
    step: Step
    source: Role
    why: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that people should know: a degradation."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last command of a run; every lane and call was closed before.

    'answer' and 'stop': the target ended the reasoning, with or without a marked answer; 'length':
    a limit did; 'failed': the target was lost, and `error` says how.
    """

    finish: RunEnd
    error: str | None = None


Command: TypeAlias = (
    OpenLane
    | GrantSteps
    | CloseLane
    | Judge
    | ExtendJudge
    | CancelJudge
    | Commit
    | Reject
    | Discard
    | Warn
    | Finished
)


class Schedule(Protocol):
    """Decides which lane does what next.

    Signals of lanes and calls that were closed are ignored, and so is everything after `Finished`:
    the driver may deliver them late.
    """

    def start(self) -> Sequence[Command]:
        """The first commands."""
        ...

    def handle(self, signal: Signal) -> Sequence[Command]:
        """What follows from a signal."""
        ...


Fallback: TypeAlias = Literal["eager", "idle", "on-reject"]
FinalAnswer: TypeAlias = Literal["target", "draft"]


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How a schedule behaves; each reads what concerns it.

    window: how many drafted steps may wait for their verdicts (paper: 4; a draft
    that is many times as fast as the judge has more ready by the next call); for lookahead its
    depth.
    fallback: when the target writes its own step beside the draft: 'eager', always; 'idle', not
    while a drafted step waits, for targets whose judging and writing share one processor;
    'on-reject', only after a rejection.
    deterministic: always wait for the draft, so that the text does not depend on timing.
    final_answer: 'target', the draft's own end is discarded and the target writes the answer;
    'draft', its end is judged like any other step and ends the run where it is accepted.
    resamples: how many other candidates the draft writes for a rejected step, while the target
    writes its own; the first that a stricter gate accepts is committed. Not with `deterministic`.
    max_steps, max_tokens: bounds on what is committed, over both models.

    Raises:
        ValueError: a number below 1 (resamples: 0), an unknown word, or resamples with
            `deterministic`.
    """

    window: int = 8
    fallback: Fallback = "eager"
    deterministic: bool = False
    final_answer: FinalAnswer = "target"
    resamples: int = 0
    max_steps: int = 256
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        for name in ("window", "max_steps", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.resamples < 0:
            raise ValueError(f"resamples must be at least 0, not {self.resamples}")
        if self.resamples and self.deterministic:
            raise ValueError(
                "with resamples the text depends on timing: leave out deterministic, or resamples"
            )
        if self.fallback not in ("eager", "idle", "on-reject"):
            raise ValueError(f"fallback is eager, idle or on-reject, not {self.fallback!r}")
        if self.final_answer not in ("target", "draft"):
            raise ValueError(f"final_answer is target or draft, not {self.final_answer!r}")
