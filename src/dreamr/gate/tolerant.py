"""A gate that forgives other words where the target itself is unsure."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.likelihood import LikelihoodGate
from dreamr.gate.verdict import StepContext, Verdict, compared


@dataclass(frozen=True, slots=True)
class TolerantGate(LikelihoodGate):
    """Gate that accepts steps that differ from the target's only where it is unsure (FLy).

    After arXiv 2511.22972: a token that is not the target's choice is an error only if the target
    is sure of its choice. The score is 1 - `Evidence.surest_mismatch`: 1 if the step has the
    target's choice everywhere. The judge prompt is never used.

    Different from the paper: uncertainty is the probability of the target's choice, not its
    entropy, and tokens after a forgiven one need not agree for a number of tokens.

    Attributes:
        threshold: Lowest score that is accepted, in [0, 1].

    Raises:
        ValueError: If the threshold is outside [0, 1].
    """

    threshold: float = 0.7

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps; compare the target's doubt at mismatches with the threshold."""
        mismatch = evidence.surest_mismatch
        return compared(
            None if mismatch is None else 1.0 - mismatch,
            self.threshold,
            context,
            "tolerance",
            evidence=evidence,
            accepted="the target is unsure" if mismatch else "the target would write the same",
            rejected="the target is sure of another token",
            unknown="the engine does not report the target's choices",
        )
