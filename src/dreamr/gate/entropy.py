"""A gate that routes steps by the draft's uncertainty about their first token."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Need, Query
from dreamr.gate.verdict import Gate, StepContext, Verdict, check_shares, compared


@dataclass(frozen=True, slots=True)
class EntropyGate(Gate):
    """Gate that accepts steps whose first token the draft was certain of (GlimpRouter).

    After arXiv 2601.05110: the entropy of a step's first token says how hard the step is. Easy
    steps are the small model's; hard ones are written by the large one, which judges nothing. The
    score is exp(-entropy): 1 for a single possible token, 1/n for n equally likely ones.

    Different from the paper: the draft writes hard steps too, since it writes ahead; the target's
    own step replaces them.

    Attributes:
        threshold: Lowest score that is accepted, in [0, 1].

    Raises:
        ValueError: If the threshold is outside [0, 1].
    """

    threshold: float = 0.7

    def __post_init__(self) -> None:
        check_shares(self, "threshold")

    @property
    def query(self) -> Query:
        """Query without a judge prompt: the target judges nothing."""
        return Query("agreement")

    @property
    def needs(self) -> frozenset[Need]:
        """What the engines must report for the gate to work."""
        return frozenset({"the draft's entropy"})

    def decide_without_target(self, context: StepContext) -> Verdict:
        """Compare the draft's certainty at the first token with the threshold."""
        entropy = context.step.entropy
        return compared(
            None if entropy is None else math.exp(-entropy),
            self.threshold,
            context,
            "draft_certainty",
            accepted="the draft is certain at the first token",
            rejected="the draft is uncertain at the first token",
            unknown="the draft's engine does not report the entropy",
        )

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Decide as without the target."""
        return self.decide_without_target(context)
