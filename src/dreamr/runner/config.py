"""Configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Literal, Protocol, TypeAlias

from dreamr.answers import PLAIN, AnswerForm
from dreamr.conversation import Conversation, flatten
from dreamr.engines import SamplingParams
from dreamr.gate import Gate, RatioGate
from dreamr.runner.deadline import Deadline
from dreamr.schedules import OpenLane, ScheduleConfig
from dreamr.steps import Role, StepFormat
from dreamr.trace import CommittedStep, Option

NativeVideoMode: TypeAlias = Literal["off", "target", "both"]

# Lowest temperature of resampling; a greedy draft would repeat the rejected step.
_RESAMPLE_TEMPERATURE = 0.7


class Views(Protocol):
    """How the models of a run see videos; see `RunConfig`."""

    @property
    def draft_frames(self) -> int | None:
        """Most frames of a video that the draft sees."""
        ...

    @property
    def native_video(self) -> NativeVideoMode:
        """Which models get the files of videos."""
        ...


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Configuration of a run, without the conversation and the engines.

    Attributes:
        method: Name of a method, one of `dreamr.schedules.METHODS`.
        options: Options of the schedule.
        gate: Gate that accepts or rejects drafted steps.
        step_format: How steps end and how an answer is marked.
        sampling: Sampling parameters of both models. `max_tokens` is ignored here: a stream is
            bounded by what is left of `options.max_tokens`.
        draft_sampling: Sampling parameters of the draft, if they differ.
        thinking_budget: Number of tokens of thoughts after which an open thought is closed and the
            target answers. None: a thought is only closed if it repeats itself.
        leads: Text, by role, with which the assistant's turn begins and that is not part of the
            run: a thought that is closed already, for models that are not to think.
        stop: Texts that end the run where they appear outside a thought.
        notes: Notes for the user, which the trace begins with.
        transcripts: Sounds that were transcribed before the run: name and text of each, for the
            trace.
        stall_seconds: Seconds without output after which a busy engine counts as lost.
        usual_judge_seconds: Usual duration of a judge call, after twice of which its verdicts count
            as late. None if it is unknown.
        calibrated: Whether the gate comes from a profile. Its verdicts must not depend on measured
            times then.
        request_id: Id of the run in the trace, None if it has none.
        draft_frames: Most frames of a video that the draft sees. None: as many as the target.
        native_video: Which models get the files of videos instead of frames: 'off' for none,
            'target', or 'both'.
        answer_form: Form of the answer.
        pass_through: Why the target writes reasoning and answer alone, in one request; empty if it
            does not.
        deadline: When the run must end, None if it has as much time as it needs.
        committed: Steps of an interrupted run, which this one commits first and continues.
    """

    method: str = "fpsr"
    options: ScheduleConfig = field(default_factory=ScheduleConfig)
    gate: Gate = field(default_factory=RatioGate)
    step_format: StepFormat = field(default_factory=StepFormat)
    sampling: SamplingParams = field(default_factory=SamplingParams)
    draft_sampling: SamplingParams | None = None
    thinking_budget: int | None = None
    leads: tuple[tuple[Role, str], ...] = ()
    stop: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    transcripts: tuple[tuple[str, str], ...] = ()
    stall_seconds: float = 300.0
    usual_judge_seconds: float | None = None
    calibrated: bool = False
    request_id: str | None = None
    draft_frames: int | None = None
    native_video: NativeVideoMode = "off"
    answer_form: AnswerForm = PLAIN
    pass_through: str = ""
    deadline: Deadline | None = None
    committed: tuple[CommittedStep, ...] = ()

    def seen_by(self, role: Role, conversation: Conversation) -> Conversation:
        """Return a conversation as the model of a role gets it: texts, images and sounds."""
        return view_of(role, conversation, self)

    @property
    def unasked(self) -> str:
        """Beginning of steps that the judge reads without a question about them.

        The answer marker if the target writes the answer itself, else empty.
        """
        return (
            (self.step_format.answer_marker or "") if self.options.final_answer == "target" else ""
        )

    def lead_of(self, role: Role) -> tuple[str, ...]:
        """Return what the prefixes of a role begin with."""
        return tuple(lead for led, lead in self.leads if led == role)

    def sampling_of(self, role: Role) -> SamplingParams:
        """Return the sampling parameters of a role."""
        return (self.draft_sampling if role == "draft" else None) or self.sampling

    def draws(
        self, lane: OpenLane, *, logprobs: bool = False, entropy: bool = False
    ) -> SamplingParams:
        """Return the sampling parameters of a lane.

        The number of tokens is bounded by the lane. Each candidate for a rejected step has its own
        seed and at least a minimum temperature.

        Args:
            lane: Command that opens the lane.
            logprobs: Whether to request log-probabilities even if the configuration does not.
            entropy: Whether to request entropies even if the configuration does not.
        """
        sampling = self.sampling_of(lane.role)
        if lane.resample:
            warm = max(sampling.temperature, _RESAMPLE_TEMPERATURE)
            seed = _seed_of(sampling.seed, lane.resample)
            sampling = replace(sampling, temperature=warm, seed=seed)
        return replace(
            sampling,
            max_tokens=lane.max_tokens,
            guess=lane.guess,
            lookup=sampling.lookup if lane.role == "target" else 0,
            logprobs=logprobs or sampling.logprobs,
            entropy=entropy or sampling.entropy,
        )

    def summary(self) -> Mapping[str, Option]:
        """Return the configuration as flat values for the trace."""
        draws = self.sampling
        known: dict[str, Option] = (
            {} if self.request_id is None else {"request_id": self.request_id}
        )
        if self.pass_through:
            known["pass_through"] = self.pass_through
        if self.committed:
            known["resumed_steps"] = len(self.committed)
        schedule = asdict(replace(self.options, text=None, committed=()))
        for made in ("text", "hurries", "committed"):  # from what follows
            del schedule[made]
        if self.deadline is not None:
            known |= {"deadline": self.deadline.seconds, "on_deadline": self.deadline.on_deadline}
        return {
            **known,
            **schedule,
            "thinking_budget": self.thinking_budget,
            "gate": repr(self.gate),
            "delimiter": self.step_format.delimiter,
            "answer_marker": self.step_format.answer_marker,
            "min_step_tokens": self.step_format.min_tokens,
            "step_tokens": self.step_format.max_tokens,
            "temperature": draws.temperature,
            "top_p": draws.top_p,
            **{name: getattr(draws, name) for name in draws.used if name != "logit_bias"},
            "seed": draws.seed,
            "token_reuse": draws.token_reuse,
            "lookup": draws.lookup,
        }


def _seed_of(seed: int, resample: int) -> int:
    """Return the seed of a candidate, of 31 bits: llama.cpp reads 32 and drops the others."""
    found = blake2b(f"{seed} {resample}".encode(), digest_size=4).digest()
    return int.from_bytes(found) & 0x7FFFFFFF


def view_of(role: Role, conversation: Conversation, views: Views) -> Conversation:
    """Return a conversation as the model of a role gets it: texts, images and sounds.

    Args:
        role: Role of the model.
        conversation: The conversation.
        views: How the models see videos, such as a `RunConfig`.
    """
    is_draft, native = role == "draft", views.native_video
    return flatten(
        conversation,
        frames=views.draft_frames if is_draft else None,
        native_video=native == "both" or (native == "target" and not is_draft),
    )
