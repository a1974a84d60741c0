"""A gate that asks the judge only about steps of which the models are not confident."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Need, Query
from dreamr.gate.ratio import RatioGate
from dreamr.gate.verdict import StepContext, Verdict, check_shares, stricter
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class CascadeGate(RatioGate):
    """Ratio gate that first accepts steps by the token probabilities of draft and target.

    A step of which the draft is confident is accepted without the target, at no cost to it. A step
    of which the target is confident is accepted without the judge prompt, which costs the target
    about as many tokens as a short step; a mistake in such a step is one that the target would also
    make alone. The ratio decides on all other steps.

    Attributes:
        target_confidence: Lowest `Evidence.min_margin` at which the judge prompt is skipped, in
            [0, 1]. Above one half, the step is what the target would write itself, greedily.
        draft_confidence: Lowest probability that the draft must have given each token of a step for
            the step to be accepted without the target, in [0, 1]. None to send every step to the
            target. Drafts differ in how well they know their errors; `dreamr calibrate` finds the
            value that keeps a given risk.

    Raises:
        ValueError: If a value is outside [0, 1].
    """

    target_confidence: float = 0.3
    draft_confidence: float | None = None

    def __post_init__(self) -> None:
        RatioGate.__post_init__(self)
        check_shares(self, "target_confidence", "draft_confidence")

    @property
    def query(self) -> Query:
        """Query about steps of which the target is not confident.

        With a draft confidence, margins are used only where they are free: on a server they cost
        more than the question that they save.
        """
        margins = self.draft_confidence is None
        return Query(self.query_kind, target_confidence=self.target_confidence, margins=margins)

    @property
    def needs(self) -> frozenset[Need]:
        """What the engines must report for the gate to work."""
        draft: set[Need] = set()
        if self.draft_confidence is not None:
            draft.add("the draft's log-probabilities")
        return self.query.needs | draft

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """Accept a step of which the draft is confident; return None for any other step."""
        step = context.step
        if self.draft_confidence is None or step.min_logprob is None or step.ending is Ending.CAP:
            return None
        if context.resamples:  # the draft has just been wrong at this position
            return None
        chance = math.exp(step.min_logprob)
        needed = self.draft_confidence
        if not chance >= needed:  # written so that a NaN is not accepted
            return None
        return Verdict(True, chance, needed, "the draft is confident", kind="draft_probability")

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Accept a step of which the target is confident; let the ratio decide on the others."""
        min_margin = evidence.min_margin
        cut = context.step.ending is Ending.CAP
        if (
            cut
            or min_margin is None
            # Written so that a NaN is not accepted.
            or not min_margin >= stricter(self.target_confidence, context.resamples)
        ):
            return RatioGate.decide(self, evidence, context)
        likelihood, reason = evidence.mean_margin or 0.0, "the target is confident"
        return Verdict(True, likelihood, self.threshold, reason, evidence, kind="likelihood")
