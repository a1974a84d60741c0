"""The paper's gate: the ratio of the two labels' probabilities against a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.gate.verdict import Gate, ScoreKind, StepContext, Verdict, stricter
from dreamr.steps import Ending, Step


@dataclass(frozen=True, slots=True)
class RatioGate(Gate):
    """Gate that accepts steps whose ratio reaches a fixed threshold (the paper's TBVM).

    Attributes:
        threshold: Lowest ratio that is accepted, in [0, 1]; 0.7 in the paper.
        min_mass: Lowest total probability of the labels that counts as evidence, in [0, 1]. Below
            it, the target has not answered the judge prompt, and the step is rejected.

    Raises:
        ValueError: If a value is outside [0, 1].
    """

    asks: ClassVar[Asks] = "verdict"
    score_kind: ClassVar[ScoreKind] = "ratio"
    threshold: float = 0.7
    min_mass: float = 0.01

    def __post_init__(self) -> None:
        for name in ("threshold", "min_mass"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")

    @property
    def query(self) -> Query:
        """Query for a verdict in the labels' words."""
        return Query(self.asks)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps and steps without evidence; compare the ratio of the others."""
        needed = stricter(self.needed(evidence), context.resamples)
        accepted, reason = self._decision(evidence, context.step, needed)
        return Verdict(accepted, evidence.ratio, needed, reason, evidence, kind=self.score_kind)

    def needed(self, evidence: Evidence) -> float:
        """Return the lowest ratio at which this step is accepted, unless it is a resample."""
        return self.threshold

    def _decision(self, evidence: Evidence, step: Step, needed: float) -> tuple[bool, str]:
        if step.ending is Ending.CAP:
            return False, "cut by the length cap"
        # Written so that a NaN from a broken engine counts as missing evidence.
        if not (evidence.mass > 0.0 and evidence.mass >= self.min_mass):
            return False, f"no evidence: label mass {evidence.mass:.2g} below {self.min_mass:.2g}"
        if evidence.ratio >= needed:
            return True, "ratio reaches the threshold"
        return False, "ratio below the threshold"
