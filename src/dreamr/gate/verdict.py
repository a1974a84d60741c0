"""The gate protocol, and verdicts: the decisions of gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query
from dreamr.steps import Step

ScoreKind: TypeAlias = Literal[
    "ratio",  # s+ / (s+ + s-) of the two labels, as in the paper
    "equivalence",  # the same ratio, for equivalence to the target's own step
    "likelihood",  # how likely the target is to write the step: `Evidence.mean_margin`
    "draft_probability",  # lowest probability that the draft gave a token of the step
    "probability",  # that the step is right, estimated by the learned gate
    "rating",  # the target's rating from 0 to 9, divided by 9
    "agreement",  # share of tokens, from the first, that the target would write itself
    "none",  # decided without a score
]

SCORE_NAMES: Mapping[ScoreKind, str] = {  # for readers
    "ratio": "judge ratio",
    "equivalence": "equivalence ratio",
    "likelihood": "target likelihood",
    "draft_probability": "draft confidence",
    "probability": "predicted correctness",
    "rating": "judge rating",
    "agreement": "token agreement",
    "none": "no score",
}


@dataclass(frozen=True, slots=True)
class StepContext:
    """A drafted step and its place in the run.

    Attributes:
        step: The drafted step.
        position: Number of the step in the assistant's text, from 0.
        resamples: Number of candidates for this position that were rejected before.
    """

    step: Step
    position: int
    resamples: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision of a gate on one drafted step, with its basis.

    Attributes:
        accepted: Whether the step is accepted.
        score: Measured value in [0, 1], 0 without evidence.
        threshold: Lowest score that would have been accepted.
        reason: Short explanation for people.
        evidence: Evidence of the judge call. None if the target did not judge the step.
        kind: What the score measures.
    """

    accepted: bool
    score: float
    threshold: float
    reason: str
    evidence: Evidence | None = None
    kind: ScoreKind = field(kw_only=True)

    @property
    def score_text(self) -> str:
        """Score with its kind, for readers, such as "judge ratio 0.93"."""
        name = SCORE_NAMES[self.kind]
        return name if self.kind == "none" else f"{name} {self.score:.2f}"


def stricter(threshold: float, resamples: int) -> float:
    """Return the threshold for a resampled step.

    The gap between threshold and 1 is divided by the number of candidates so far, since with more
    candidates it becomes more likely that one deceives the judge. A threshold of 0.7 for the first
    candidate becomes 0.85 for the second and 0.9 for the third.
    """
    return threshold + (1 - threshold) * resamples / (1 + resamples)


class Gate(Protocol):
    """Protocol of gates; a gate is a pure function of its arguments."""

    @property
    def query(self) -> Query:
        """Query whose evidence the gate needs."""
        ...

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """Return the verdict if the target need not judge the step; None if it must."""
        return None

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Return the verdict on a step that the target has judged."""
        ...
