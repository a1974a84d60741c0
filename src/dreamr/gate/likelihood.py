"""A gate that uses the target's token probabilities and no judge prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.gate.verdict import Gate, StepContext, Verdict, check_shares, stricter
from dreamr.steps import Ending


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

    asks: ClassVar[Asks] = "agreement"
    threshold: float = 0.9

    def __post_init__(self) -> None:
        check_shares(self, "threshold")

    @property
    def query(self) -> Query:
        """Query without a judge prompt."""
        return Query(self.asks, margins=True)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps; compare the likelihood of the others with the threshold."""
        likelihood = evidence.mean_margin
        needed = stricter(self.threshold, context.resamples)
        if context.step.ending is Ending.CAP:
            accepted, reason = False, "cut by the length cap"
        elif likelihood is None:
            accepted, reason = False, "the engine does not report the likelihood"
        else:
            accepted = likelihood >= needed
            reason = f"likelihood {'reaches' if accepted else 'below'} the threshold"
        return Verdict(accepted, likelihood or 0.0, needed, reason, evidence, kind="likelihood")
