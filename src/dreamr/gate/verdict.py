"""From evidence to accept or reject."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query
from dreamr.steps import Step

ScoreKind: TypeAlias = Literal[
    "ratio",  # s+ / (s+ + s-) of the two labels: the paper's
    "equivalence",  # the same ratio, on whether the step means the same as the target's own
    "likelihood",  # how likely the target would write the step: `Evidence.mean_margin`
    "draft_probability",  # the least probability that the draft gave one of its tokens
    "probability",  # that the step is right: the learned gate's
    "rating",  # the target's rating from 0 to 9, divided by 9
    "agreement",  # the share of the tokens, from the first on, that the target would write
    "none",  # the step was decided without a score
]

# Names of the kinds for readers, where they differ.
_LABELS: dict[ScoreKind, str] = {"draft_probability": "draft confidence"}


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where the step stands that is decided on.

    position: its number in the assistant's text, the first step being 0. resamples: how many other
    candidates for the same position were rejected before.
    """

    step: Step
    position: int
    resamples: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's decision on one drafted step, with what it rests on.

    score: in [0, 1], 0 where there was no evidence; kind: what it measures. threshold: the lowest
    score that would have been accepted. reason: why, in a few words for people. evidence: None
    where the target did not judge the step.
    """

    accepted: bool
    score: float
    threshold: float
    reason: str
    evidence: Evidence | None = None
    kind: ScoreKind = field(kw_only=True)

    @property
    def score_text(self) -> str:
        """Score with its kind, for readers, such as "ratio 0.93" or "draft confidence 0.98"."""
        if self.kind == "none":
            return "no score"
        return f"{_LABELS.get(self.kind, self.kind)} {self.score:.2f}"


def stricter(threshold: float, resamples: int) -> float:
    """The threshold for a resampled step: the allowed shortfall, divided by the candidates so far.

    The more candidates are drawn, the likelier it is that one deceives the judge: with the first at
    0.7 the next needs 0.85, and the one after that 0.9.
    """
    return threshold + (1 - threshold) * resamples / (1 + resamples)


class Gate(Protocol):
    """The rule; a pure function of what it is shown."""

    @property
    def query(self) -> Query:
        """The question whose evidence it decides on."""
        ...

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """The verdict on a step about which the target need not be asked; None where it must."""
        return None

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """The verdict on any other step."""
        ...
