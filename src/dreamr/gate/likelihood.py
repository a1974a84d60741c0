"""A gate that looks at the target's own tokens and asks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.gate.verdict import Gate, StepContext, Verdict, stricter
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class LikelihoodGate(Gate):
    """Accept what the target might have written itself; nothing is ever asked.

    The evidence is `Evidence.mean_margin`: for each token of the step its probability over that
    and the best other token's, averaged geometrically. Engines that do not know it accept nothing.

    threshold: in [0, 1].

    Raises:
        ValueError: a threshold outside [0, 1].
    """

    asks: ClassVar[Asks] = "agreement"
    threshold: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must lie in [0, 1], not {self.threshold}")

    @property
    def query(self) -> Query:
        """Nothing."""
        return Query(self.asks)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps; else compare the likelihood with the threshold."""
        likelihood = evidence.mean_margin
        needed = stricter(self.threshold, context.resamples)
        if context.step.ending is Ending.CAP:
            accepted, reason = False, "cut by the length cap"
        elif likelihood is None:
            accepted, reason = False, "this engine does not know how it would go on"
        else:
            accepted = likelihood >= needed
            reason = f"the target {'might' if accepted else 'would hardly'} go on so"
        return Verdict(accepted, likelihood or 0.0, needed, reason, evidence, kind="likelihood")
