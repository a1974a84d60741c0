"""A gate that lets the draft judge its own steps first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dreamr.gate.query import Need, Query
from dreamr.gate.ratio import RatioGate
from dreamr.gate.verdict import StepContext, Verdict, check_shares, stricter
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class DraftFirstGate(RatioGate):
    """Ratio gate that asks the draft first, and the target where the draft is unsure (ConfSpec).

    After arXiv 2602.18447: a small model's confident judgments are reliable. A step is accepted if
    the draft's own ratio reaches `draft_confidence`, and rejected if it is at most
    1 - `draft_confidence`. The target's ratio decides on the others.

    Attributes:
        draft_confidence: Confidence from which the draft's own judgment counts, in [0, 1]. At one
            half and below, the target is never asked.

    Raises:
        ValueError: If a value is outside [0, 1].
    """

    draft_confidence: float = 0.95

    def __post_init__(self) -> None:
        RatioGate.__post_init__(self)
        check_shares(self, "draft_confidence")

    @property
    def draft_query(self) -> Query:
        """Query to the draft about its own steps."""
        return Query(self.query_kind)

    @property
    def needs(self) -> frozenset[Need]:
        """What the engines must report for the gate to work."""
        return self.query.needs | {"the draft's verdicts"}

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """Decide on a step of which the draft is sure; return None for any other step."""
        own = context.draft_evidence
        if own is None or context.step.ending is Ending.CAP:
            return None
        if RatioGate(min_mass=self.min_mass).decide(own, context).unanswered:
            return None
        needed = stricter(self.draft_confidence, context.resamples)
        if not (own.ratio >= needed or own.ratio <= 1 - needed):
            return None
        accepted = own.ratio >= needed
        reason = f"the draft is sure that its step is {'right' if accepted else 'wrong'}"
        # How the draft would begin the step says nothing of the target.
        evidence = replace(own, target_prefix="")
        return Verdict(accepted, own.ratio, needed, reason, evidence, kind="draft_ratio")
