"""The paper's gate: the ratio of the two labels' probabilities against a threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query, QueryKind
from dreamr.gate.verdict import (
    CUT_REASON,
    Gate,
    ScoreKind,
    StepContext,
    Verdict,
    check_shares,
    stricter,
)
from dreamr.steps import Ending

_MIN_MASS = 0.01


@dataclass(frozen=True, slots=True)
class RatioGate(Gate):
    """Gate that accepts steps whose ratio reaches a fixed threshold (the paper's TBVM).

    Attributes:
        threshold: Lowest ratio that is accepted, in [0, 1]; 0.7 in the paper.
        min_mass: Lowest total probability of the labels that counts as evidence, in [0, 1]. Below
            it, the target has not answered the judge prompt, and the step is rejected. None: as the
            target's engine needs (`Capabilities.min_label_mass`), 0.01 if that is unknown.

    Raises:
        ValueError: If a value is outside [0, 1].
    """

    query_kind: ClassVar[QueryKind] = "verdict"
    score_kind: ClassVar[ScoreKind] = "ratio"
    threshold: float = 0.7
    min_mass: float | None = None

    def __post_init__(self) -> None:
        check_shares(self, "threshold", "min_mass")

    @property
    def query(self) -> Query:
        """Query for a verdict in the labels' words."""
        return Query(self.query_kind)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps and steps without evidence; compare the ratio of the others."""
        needed = stricter(self.needed(evidence), context.resamples)
        cut = context.step.ending is Ending.CAP
        missing = None if cut else _missing(evidence, self.min_mass)
        if cut or missing:
            accepted, reason = False, missing or CUT_REASON
        else:
            accepted = evidence.ratio >= needed
            reason = f"ratio {'reaches' if accepted else 'below'} the threshold"
        return Verdict(
            accepted,
            evidence.ratio,
            needed,
            reason,
            evidence,
            unanswered=missing is not None,
            kind=self.score_kind,
        )

    def needed(self, evidence: Evidence) -> float:
        """Return the lowest ratio at which this step is accepted, unless it is a resample."""
        return self.threshold


def _missing(evidence: Evidence, min_mass: float | None) -> str | None:
    """Return why the evidence does not count, None if it does."""
    floor = _MIN_MASS if min_mass is None else min_mass
    # Written so that a NaN from a broken engine counts as missing evidence.
    if evidence.mass > 0.0 and evidence.mass >= floor:
        return None
    return f"no evidence: label mass {evidence.mass:.2g} below {floor:.2g}"


def with_min_mass(gate: Gate, min_mass: float) -> Gate:
    """Return the gate with a smallest label mass, unless it has its own or does not use labels."""
    if isinstance(gate, RatioGate) and gate.min_mass is None:
        return replace(gate, min_mass=min_mass)
    return gate
