"""Events of a run, and the result computed from them.

Every event has a `time` in seconds since the start of the run. Positions are indices of steps in
the assistant's text, from 0. Lanes and judge calls are numbered from 0 in the order in which they
were opened. Usage and timeline are computed from the events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from dreamr.answers import CallDelta, TokenLogprob
from dreamr.conversation import ToolCall
from dreamr.gate import Verdict
from dreamr.schedules import DeadlineStage, RunEnd
from dreamr.steps import Role, Step

Option: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of all events.

    Attributes:
        time: Seconds since the start of the run.
    """

    time: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """Start of the run; always the first event.

    Attributes:
        method: Name of the method.
        draft: Name of the draft's engine, None if the method does not use one.
        target: Name of the target's engine, None if the method does not use one.
        options: Configuration of the run as flat values.
    """

    method: str
    draft: str | None
    target: str | None
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SpeechTranscribed(Event):
    """A sound of the problem was transcribed before the run, for models that do not hear.

    Attributes:
        name: Name of the sound.
        text: What was said; empty if no speech was heard.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class LaneOpened(Event):
    """A lane was opened.

    Attributes:
        lane: Number of the lane.
        role: Model that writes.
        position: Position of the lane's first step.
        resample: Number of the candidate for a rejected step, from 1; 0 for an ordinary lane.
    """

    lane: int
    role: Role
    position: int
    resample: int = 0


@dataclass(frozen=True, slots=True)
class LanePaused(Event):
    """The lane used up its credit and waits."""

    lane: int


@dataclass(frozen=True, slots=True)
class LaneResumed(Event):
    """The lane was granted more steps and continues."""

    lane: int


@dataclass(frozen=True, slots=True)
class LaneClosed(Event):
    """The lane ended.

    Attributes:
        lane: Number of the lane.
        reason: `stop` or `length` if the stream ended by itself, `canceled` if the schedule closed
            the lane, `failed` if the engine failed.
        tokens: Number of tokens written, in tokens of the lane's model.
        began: Time of the first text, None if there was none.
    """

    lane: int
    reason: Literal["stop", "length", "canceled", "failed"]
    tokens: int
    began: float | None = None


@dataclass(frozen=True, slots=True)
class StepReady(Event):
    """A lane completed a step. If drafted, the step now waits for its verdict."""

    lane: int
    role: Role
    position: int
    step: Step


@dataclass(frozen=True, slots=True)
class JudgeStarted(Event):
    """A judge call was opened.

    The call can still grow; `JudgeEnded` has the final positions.

    Attributes:
        call: Number of the judge call.
        positions: Consecutive positions of the drafted steps.
    """

    call: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JudgeEnded(Event):
    """A judge call ended.

    Attributes:
        call: Number of the judge call.
        positions: Positions of the judged steps; of all requested steps if there are no verdicts.
        verdicts: One verdict per position; empty if the call was canceled or failed.
        error: The error of a failed call, else None.
    """

    call: int
    positions: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StepCommitted(Event):
    """A step was appended to the text.

    Attributes:
        position: Position of the step.
        step: The step.
        source: Model that wrote it.
        verdict: Verdict of an accepted drafted step; None for steps of the target.
        last: Whether the step completes the reasoning; it is then the answer.
    """

    position: int
    step: Step
    source: Role
    verdict: Verdict | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class StepRejected(Event):
    """The gate rejected the drafted step at the frontier."""

    position: int
    step: Step
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StepDiscarded(Event):
    """A complete step was discarded without a verdict of its own.

    Attributes:
        position: Position of the step.
        step: The step.
        source: Model that wrote it.
        why: The reason, in a few words for users.
    """

    position: int
    step: Step
    source: Role
    why: str


@dataclass(frozen=True, slots=True)
class AnswerExtended(Event):
    """The target wrote a piece of the answer in the form that was demanded.

    The whole answer becomes the last step.

    Attributes:
        text: Piece of its text.
        reasoning: Piece of a thought that was written in the same request.
        calls: Pieces of its calls.
        logprobs: Log-probabilities of tokens of the text, if they were requested.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A warning for the user, for example that the draft was lost."""

    message: str


@dataclass(frozen=True, slots=True)
class DeadlineNear(Event):
    """The run trades verification for time, because its deadline is near.

    Attributes:
        stage: 'window': the draft writes fewer steps ahead. 'confidence': steps that the draft is
            confident of are accepted without the target. 'answer': the thought is closed and the
            target answers. 'best': the run ends with the best answer so far.
        left: Seconds until the deadline.
    """

    stage: DeadlineStage
    left: float


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """The tokens that one model decoded, by outcome. Each token is counted once.

    `canceled` is the number of tokens of discarded and incomplete steps.

    Attributes:
        accepted: Tokens of committed steps, for the draft.
        rejected: Tokens of steps that the gate rejected.
        kept: Tokens of committed steps, for the target.
    """

    accepted: int = 0
    rejected: int = 0
    kept: int = 0
    canceled: int = 0

    @property
    def written(self) -> int:
        """Total number of decoded tokens."""
        return self.accepted + self.rejected + self.kept + self.canceled


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a run.

    Attributes:
        draft: Tokens of the draft.
        target: Tokens of the target.
        judge_calls: Number of judge calls, canceled ones included.
        judged: Number of drafted steps in these calls.
    """

    draft: ModelUsage = ModelUsage()
    target: ModelUsage = ModelUsage()
    judge_calls: int = 0
    judged: int = 0


@dataclass(frozen=True, slots=True)
class CommittedStep:
    """A step of the result.

    Attributes:
        step: The step.
        source: Model that wrote it.
        verdict: Verdict of an accepted drafted step; None for steps of the target.
    """

    step: Step
    source: Role
    verdict: Verdict | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON values: its text, who wrote it, tokens, score and its kind."""
        return {
            "text": self.step.text,
            "source": self.source,
            "tokens": self.step.tokens,
            "score": None if self.verdict is None else self.verdict.score,
            "kind": None if self.verdict is None else self.verdict.kind,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run.

    `json.dumps(result.to_json())` makes it JSON; results can be compared and hashed.

    Attributes:
        answer: The final answer without its marker, from the last text outside a thought. If the
            target ended without a marker, the last step there; empty if the run was cut before its
            answer or has only thoughts.
        steps: The committed steps.
        usage: Number of tokens and judge calls.
        seconds: Wall-clock time.
        finish: 'answer' or 'stop' if the reasoning is complete, with or without an answer marker;
            'length' if a limit on steps or tokens ended it, or the target stopped after a thought
            without an answer; 'deadline' if the deadline did; 'failed' if the target was lost.
        error: The error if the run failed, else None.
        events: All events before `RunFinished`, in order.
        calls: Calls of tools that the answer consists of, maybe beside a text.
        answer_logprobs: Log-probabilities of the tokens of the answer's text, if the form of the
            answer demanded them.
    """

    answer: str
    steps: tuple[CommittedStep, ...]
    usage: Usage
    seconds: float
    finish: RunEnd
    error: str | None = None
    events: tuple[Event, ...] = field(default=(), repr=False)
    calls: tuple[ToolCall, ...] = ()
    answer_logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)

    @property
    def complete(self) -> bool:
        """Whether the reasoning is complete, rather than cut by a limit or a failure."""
        return self.finish in ("answer", "stop")

    @property
    def deadline_stages(self) -> tuple[DeadlineStage, ...]:
        """Stages in which the run traded verification for time, as its deadline came near."""
        return tuple(event.stage for event in self.events if isinstance(event, DeadlineNear))

    @property
    def text(self) -> str:
        """Text of the whole reasoning: the committed steps, joined, with the tags of thoughts."""
        return "".join(committed.step.text for committed in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values, as `dreamr run --json` prints them.

        The events are left out; `dreamr.trace.write_trace` writes them.
        """
        return {
            "answer": self.answer,
            **({"calls": list(map(asdict, self.calls))} if self.calls else {}),
            "finish": self.finish,
            "complete": self.complete,
            "error": self.error,
            "seconds": self.seconds,
            "deadline_stages": list(self.deadline_stages),
            "steps": [step.to_json() for step in self.steps],
            "usage": asdict(self.usage),
        }


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """End of the run; always the last event, also after a failure."""

    result: Result


def all_events(run: Iterable[Event] | Result) -> Iterable[Event]:
    """Return the events of a run; those of a result with the `RunFinished` that it lacks."""
    return (*run.events, RunFinished(run.seconds, run)) if isinstance(run, Result) else run
