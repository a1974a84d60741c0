"""A gate that looks at the models' own tokens, and asks the target where these leave a doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query
from dreamr.gate.ratio import RatioGate
from dreamr.gate.verdict import StepContext, Verdict, stricter
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class CascadeGate(RatioGate):
    """Accept what a model is sure of; ask the target about the rest, as `RatioGate` does.

    Of what the draft is sure, the target need not hear: such a step costs it nothing. What the
    target is sure to go on with, it need not be asked about: a question costs it about as many rows
    as a short step has itself, and what it would write is no mistake that it would not have made
    alone. What is left gets the ratio.

    target_confidence: the least `Evidence.min_margin` at which nothing is asked; one half is what
    the target would write itself, greedily.
    draft_confidence: the least probability that the draft must have given each token of a step for
    it to be accepted unseen; None: none is. How well a draft knows what it does not know differs
    from draft to draft: `dreamr calibrate` finds the value that keeps a promise.

    Raises:
        ValueError: a value outside [0, 1].
    """

    target_confidence: float = 0.3
    draft_confidence: float | None = None

    def __post_init__(self) -> None:
        RatioGate.__post_init__(self)
        for name in ("target_confidence", "draft_confidence"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {value}")

    @property
    def query(self) -> Query:
        """The labels' words, about what the target is not sure of."""
        return Query(self.asks, target_confidence=self.target_confidence)

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """What the draft is sure of passes unseen."""
        step = context.step
        if self.draft_confidence is None or step.min_logprob is None or step.ending is Ending.CAP:
            return None
        if context.resamples:  # a draft that was wrong once is looked at
            return None
        chance = math.exp(step.min_logprob)
        needed = self.draft_confidence
        if not chance >= needed:  # written so that a NaN is no trust
            return None
        return Verdict(True, chance, needed, "the draft is sure of it", kind="draft_probability")

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """What the target is sure of passes, asked about or not; the rest, by its answer."""
        min_margin = evidence.min_margin
        cut = context.step.ending is Ending.CAP
        if (
            cut
            or min_margin is None
            or min_margin < stricter(self.target_confidence, context.resamples)
        ):
            return RatioGate.decide(self, evidence, context)
        likelihood, reason = evidence.mean_margin or 0.0, "the target would go on so"
        return Verdict(True, likelihood, self.threshold, reason, evidence, kind="likelihood")
