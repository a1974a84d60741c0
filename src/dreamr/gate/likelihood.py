"""A gate that uses the target's token probabilities and no judge prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query, QueryKind
from dreamr.gate.verdict import Gate, StepContext, Verdict, check_shares, compared


@dataclass(frozen=True, slots=True)
class LikelihoodGate(Gate):
    """Gate that accepts steps that the target is likely to have written itself.

    The score is `Evidence.mean_margin`; the judge prompt is never used. A step is rejected if the
    engine does not report the score.

    Attributes:
        threshold: Lowest score that is accepted, in [0, 1].

    Raises:
        ValueError: If the threshold is outside [0, 1].
    """

    query_kind: ClassVar[QueryKind] = "agreement"
    threshold: float = 0.9

    def __post_init__(self) -> None:
        check_shares(self, "threshold")

    @property
    def query(self) -> Query:
        """Query without a judge prompt."""
        return Query(self.query_kind, margins=True)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps; compare the likelihood of the others with the threshold."""
        return compared(
            evidence.mean_margin,
            self.threshold,
            context,
            "likelihood",
            evidence=evidence,
            accepted="likelihood reaches the threshold",
            rejected="likelihood below the threshold",
            unknown="the engine does not report the likelihood",
        )
