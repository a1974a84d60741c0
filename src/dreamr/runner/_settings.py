"""What can be chosen about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from dreamr.engines import Sampling
from dreamr.gate import FixedGate, Gate
from dreamr.schedules import Options
from dreamr.steps import Cutting
from dreamr.trace import Option, Role


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a run except the conversation and the engines.

    method: a name of `dreamr.schedules.METHODS`. cutting: where steps end and how an answer is
    marked. sampling: of both models; draft_sampling where the draft's differs. Their `max_tokens`
    is not used: `options.max_tokens` bounds the run, and each stream by what is left of it.
    stall_seconds: how long an engine that is at work may give no sign of life before it counts as
    lost.
    """

    method: str = "fpsr"
    options: Options = field(default_factory=Options)
    gate: Gate = field(default_factory=FixedGate)
    cutting: Cutting = field(default_factory=Cutting)
    sampling: Sampling = field(default_factory=Sampling)
    draft_sampling: Sampling | None = None
    stall_seconds: float = 300.0

    @property
    def unasked(self) -> str:
        """How a step begins that is not asked about, since the target writes the answer itself."""
        return (self.cutting.answer_marker or "") if self.options.answer == "target" else ""

    def draws(
        self, role: Role, max_tokens: int, guess: str = "", *, logprobs: bool = False
    ) -> Sampling:
        """How a lane draws: as the caller wants it, and no longer than the schedule does."""
        own = (self.draft_sampling if role == "draft" else None) or self.sampling
        logprobs = logprobs or own.logprobs
        return replace(own, max_tokens=max_tokens, guess=guess, logprobs=logprobs)

    def summary(self) -> Mapping[str, Option]:
        """The settings as flat values, for the trace."""
        draws = self.sampling
        return {
            **asdict(self.options),
            "gate": repr(self.gate),
            "delimiter": self.cutting.delimiter,
            "answer_marker": self.cutting.answer_marker,
            "step_tokens": self.cutting.max_tokens,
            "temperature": draws.temperature,
            "top_p": draws.top_p,
            "seed": draws.seed,
        }
