"""What can be chosen about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from dreamr.engines import SamplingParams
from dreamr.gate import Gate, RatioGate
from dreamr.schedules import OpenLane, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import Option

_RESAMPLE_TEMPERATURE = 0.7  # what a greedy draft resamples with


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything about a run except the conversation and the engines.

    method: a name of `dreamr.schedules.METHODS`. step_format: where steps end and how an answer is
    marked. sampling: of both models; draft_sampling where the draft's differs. Their `max_tokens`
    is not used: `options.max_tokens` bounds the run, and each stream by what is left of it.
    stall_seconds: how long a busy engine may give no sign of life before it counts as
    lost.
    """

    method: str = "fpsr"
    options: ScheduleConfig = field(default_factory=ScheduleConfig)
    gate: Gate = field(default_factory=RatioGate)
    step_format: StepFormat = field(default_factory=StepFormat)
    sampling: SamplingParams = field(default_factory=SamplingParams)
    draft_sampling: SamplingParams | None = None
    stall_seconds: float = 300.0

    @property
    def unasked(self) -> str:
        """How a step begins that is not asked about, since the target writes the answer itself."""
        return (
            (self.step_format.answer_marker or "") if self.options.final_answer == "target" else ""
        )

    def draws(self, lane: OpenLane, *, logprobs: bool = False) -> SamplingParams:
        """How a lane draws: as the caller wants it, and no longer than the schedule does.

        Another candidate for a rejected step is drawn with a temperature and a seed of its own.
        """
        sampling = (self.draft_sampling if lane.role == "draft" else None) or self.sampling
        if lane.resample:
            warm = max(sampling.temperature, _RESAMPLE_TEMPERATURE)
            sampling = replace(sampling, temperature=warm, seed=sampling.seed ^ lane.resample << 48)
        return replace(
            sampling,
            max_tokens=lane.max_tokens,
            guess=lane.guess,
            lookup=sampling.lookup if lane.role == "target" else 0,
            logprobs=logprobs or sampling.logprobs,
        )

    def summary(self) -> Mapping[str, Option]:
        """The settings as flat values, for the trace."""
        draws = self.sampling
        return {
            **asdict(self.options),
            "gate": repr(self.gate),
            "delimiter": self.step_format.delimiter,
            "answer_marker": self.step_format.answer_marker,
            "step_tokens": self.step_format.max_tokens,
            "temperature": draws.temperature,
            "top_p": draws.top_p,
            "seed": draws.seed,
            "token_reuse": draws.token_reuse,
            "lookup": draws.lookup,
        }
