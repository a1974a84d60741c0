"""The schedule interface: signals in, commands out.

A schedule is a pure state machine: no I/O, no clock, no tasks. Its driver passes it one signal at
a time and executes the returned commands in order. The same class runs in production, in the
simulator's virtual time and in tests.

A lane is one stream of an engine, starting at a prefix and split into steps. Each lane has a
*credit*, the number of steps that it may still write. At zero it pauses and emits no signals until
it is granted more. Credit is granted in advance, so a lane cannot run ahead while its last step is
still on its way to the schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from dreamr.gate import Verdict
from dreamr.schedules.stages import Stop, TimeShort
from dreamr.schedules.text_watch import TextLimits
from dreamr.steps import Finish, Role, Step

RunEnd: TypeAlias = Literal["answer", "stop", "length", "deadline", "failed"]


@dataclass(frozen=True, slots=True)
class StepDone:
    """A lane completed a step.

    Attributes:
        lane: Number of the lane.
        step: The step.
        finish: How the stream ended, if it ended with this step; the lane is then over.
        verdict: Verdict of a drafted step that the gate decided without the target, else None.
        stopped: Whether a stop text of the run ended the stream.
    """

    lane: int
    step: Step
    finish: Finish | None = None
    verdict: Verdict | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class LaneEnded:
    """A lane's stream ended without another step; the lane is over.

    Attributes:
        lane: Number of the lane.
        finish: How the stream ended.
        stopped: Whether a stop text of the run ended it.
    """

    lane: int
    finish: Finish
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class LaneFailed:
    """A lane failed and is over.

    Attributes:
        lane: Number of the lane.
        message: The error, with the name of the engine.
        lost: Whether the engine itself is lost, so that no further call can succeed.
        full: Whether the model's context has no room for the text.
    """

    lane: int
    message: str
    lost: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge call returned its verdicts.

    Attributes:
        call: Number of the judge call.
        verdicts: One verdict per candidate: all that the call was opened with, and those added by
            `ExtendJudge` before the engine began.
    """

    call: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class JudgeFailed:
    """A judge call failed without verdicts.

    Attributes:
        call: Number of the judge call.
        message: The error, with the name of the engine.
        lost: Whether the target itself is lost, so that no further call can succeed.
    """

    call: int
    message: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class JudgeLate:
    """A judge call takes much longer than usual; its verdicts are still to come."""

    call: int


Signal: TypeAlias = (
    StepDone | LaneEnded | LaneFailed | Judged | JudgeFailed | JudgeLate | TimeShort | Stop
)


@dataclass(frozen=True, slots=True)
class OpenLane:
    """Open a lane that continues a prefix.

    Attributes:
        lane: Number of the new lane.
        role: Model that writes.
        prefix: Texts of the steps to continue: the committed ones, then undecided drafted ones.
        credit: Number of steps that the lane may write before it pauses.
        max_tokens: Largest number of tokens that the lane may write.
        guess: Likely beginning of the stream. Engines that can check a guess verify it in one
            forward pass; the others ignore it.
        begun: Beginning of the lane's first step, written elsewhere. The lane continues it and
            reports the whole step.
        resample: Number of the candidate for a rejected step, from 1; each number has its own
            seed. 0 for an ordinary lane.
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
class WriteAnswer:
    """Have the target write the answer in the form that the run demands.

    Attributes:
        lane: Number of the new lane, which reports the answer as its last step.
        prefix: Texts of the reasoning.
        position: Index of the answer in the text.
        max_tokens: Largest number of tokens of the answer.
    """

    lane: int
    prefix: tuple[str, ...]
    position: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class GrantSteps:
    """Grant a lane credit for `steps` more steps."""

    lane: int
    steps: int


@dataclass(frozen=True, slots=True)
class CloseLane:
    """Cancel a lane; signals that it still sends are ignored."""

    lane: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Open a judge call on consecutive candidates.

    Attributes:
        call: Number of the new judge call.
        prefix: Texts of the committed steps.
        candidates: Steps to judge, each after the prefix and the candidates before it.
        others: The target's own step at each position, for methods that ask whether both steps
            mean the same; otherwise empty.
        resamples: Number of the candidate for a rejected step, from 1; 0 for an ordinary call.
    """

    call: int
    prefix: tuple[str, ...]
    candidates: tuple[Step, ...]
    others: tuple[str, ...] = ()
    resamples: int = 0


@dataclass(frozen=True, slots=True)
class ExtendJudge:
    """Append candidates to an open judge call, unless its engine has already begun.

    Engines that alternate writing and judging queue their calls. A queued call can still grow.
    """

    call: int
    candidates: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CancelJudge:
    """Cancel a judge call."""

    call: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Append a step to the text.

    Attributes:
        position: Index of the step in the text, from 0.
        step: The step.
        source: Model that wrote it.
        verdict: Verdict of an accepted drafted step; None for steps of the target.
        last: Whether the step completes the reasoning.
    """

    position: int
    step: Step
    source: Role
    verdict: Verdict | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """Record that the gate rejected a drafted step."""

    position: int
    step: Step
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Discard:
    """Discard a complete step without a verdict of its own; `why` is shown to users."""

    position: int
    step: Step
    source: Role
    why: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Warn the user, for example of a lost draft."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """End the run: the last command, after every lane and judge call was closed.

    Attributes:
        finish: 'answer' or 'stop' if the reasoning is complete, with or without a marked answer;
            'length' if a limit on steps or tokens ended it, the text repeated itself, or the
            target stopped after a thought without an answer; 'deadline' if the deadline did;
            'failed' if the target was lost.
        error: The error if `finish` is 'failed', or the deadline counts as one, else None.
        open_thought: Why the run ended inside a thought, if it can go on once that is closed; see
            `ThoughtCloser`. Otherwise None.
    """

    finish: RunEnd
    error: str | None = None
    open_thought: str | None = None


Command: TypeAlias = (
    OpenLane
    | WriteAnswer
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
    """A state machine that decides which lane does what next.

    An instance serves one run. A schedule must ignore signals of closed lanes and judge calls, and
    all signals after `Finished`: the driver may deliver them late.
    """

    def start(self) -> Sequence[Command]:
        """Return the first commands of the run."""
        ...

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Return the commands that follow from a signal, in the order of execution."""
        ...


Fallback: TypeAlias = Literal["auto", "eager", "idle", "on-reject"]
JudgeBatch: TypeAlias = Literal["auto", "window", "step"]
FinalAnswer: TypeAlias = Literal["target", "draft"]


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Options of a schedule. Each schedule reads the ones that apply to it.

    Attributes:
        window: Largest number of drafted steps that wait for verdicts. The paper uses 4; a draft
            that is many times faster than the judge benefits from more. For `lookahead`, the
            depth.
        fallback: When the target writes its own step in parallel. 'eager': always. 'idle':
            not while a drafted step waits for its verdict; for targets that judge and write on the
            same processor. 'on-reject': only after a rejection. 'auto': always, unless calls are
            `independent`. Then after a rejection, and while the step at the frontier is in doubt:
            likely to be rejected, by the draft's confidence and the verdicts of the run, or its
            verdict is late.
        deterministic: Whether to always wait for the draft, so that the text does not depend on
            timing.
        final_answer: 'target': the draft's end is discarded and the target writes the answer.
            'draft': the draft's end is judged like any other step, and ends the run if accepted.
        judge_batch: What a judge call is about. 'window': all waiting steps, for engines whose
            calls share forward passes, or that judge a window in one request. 'step': one step, as
            soon as it is complete, for servers that serve calls independently. 'auto': as the
            target's engine serves its calls. With independent calls, the target also begins its own
            step after the draft's end, and at a rejected step, before the steps ahead of it are
            decided.
        resamples: Number of further candidates that the draft writes for a rejected step while the
            target writes its own. The gate gets stricter with each candidate; the first accepted
            one is committed. Must be 0 with `deterministic`.
        independent: Whether the target's server serves its calls independently of each other.
            Always with `judge_batch` 'step'.
        prefill: Whether the target computes the prompt while the draft writes its first step, with
            `independent` calls and `fallback` 'auto'.
        max_steps: Largest number of committed steps, of both models together.
        max_tokens: Largest number of committed tokens, of both models together.
        text: Limits of thoughts and of repetition. None: the texts mean nothing, as in simulations.
        hurries: Whether the run trades verification for time when its deadline is near.
        committed: Steps of an interrupted run, which this one commits first and continues.

    Raises:
        ValueError: If a number is below 1 (`resamples`: below 0), a choice is unknown, or
            `resamples` is combined with `deterministic`.
    """

    window: int = 8
    fallback: Fallback = "auto"
    deterministic: bool = False
    final_answer: FinalAnswer = "target"
    judge_batch: JudgeBatch = "auto"
    resamples: int = 0
    independent: bool = False
    prefill: bool = True
    max_steps: int = 256
    max_tokens: int = 4096
    text: TextLimits | None = None
    hurries: bool = False
    committed: tuple[Commit, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "independent", self.independent or self.judge_batch == "step")
        for name in ("window", "max_steps", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.resamples < 0:
            raise ValueError(f"resamples must be at least 0, not {self.resamples}")
        if self.resamples and self.deterministic:
            raise ValueError(
                "resamples and deterministic cannot be combined, since resampling depends on timing"
            )
        if self.fallback not in get_args(Fallback):
            raise ValueError(
                f"fallback must be auto, eager, idle or on-reject, not {self.fallback!r}"
            )
        if self.judge_batch not in ("auto", "window", "step"):
            raise ValueError(f"judge_batch must be auto, window or step, not {self.judge_batch!r}")
        if self.final_answer not in ("target", "draft"):
            raise ValueError(f"final_answer must be target or draft, not {self.final_answer!r}")
