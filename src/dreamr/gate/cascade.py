"""Gates that look at the models' own tokens, and ask the target only where these leave a doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.gate.verdict import Gate, RatioGate, StepContext, Verdict, stricter
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

    def decide(self, evidence: Evidence, situation: StepContext) -> Verdict:
        """Reject cut steps; else compare the confidence, which is the verdict's ratio."""
        ratio = evidence.mean_margin
        needed = stricter(self.threshold, situation.resamples)
        if situation.step.ending is Ending.CAP:
            accepted, reason = False, "cut by the length cap"
        elif ratio is None:
            accepted, reason = False, "this engine does not know how it would go on"
        else:
            accepted = ratio >= needed
            reason = f"the target {'might' if accepted else 'would hardly'} go on so"
        return Verdict(accepted, ratio or 0.0, needed, reason, evidence)


@dataclass(frozen=True, slots=True)
class CascadeGate(RatioGate):
    """Accept what a model is sure of; ask the target about the rest, as `RatioGate` does.

    Of what the draft is sure, the target need not hear: such a step costs it nothing. What the
    target is sure to go on with, it need not be asked about: a question costs it about as many rows
    as a short step has itself, and what it would write is no mistake that it would not have made
    alone. What is left gets the ratio.

    sure: the least `Evidence.min_margin` at which nothing is asked; one half is what the target
    would write itself, greedily.
    trust: the least probability that the draft must have given each token of a step for it to be
    accepted unseen; None: none is. How well a draft knows what it does not know differs from
    draft to draft: `dreamr calibrate` finds the value that keeps a promise.

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

    def decide_without_target(self, situation: StepContext) -> Verdict | None:
        """What the draft is sure of passes unseen."""
        step = situation.step
        if self.draft_confidence is None or step.min_logprob is None or step.ending is Ending.CAP:
            return None
        if situation.resamples:  # a draft that was wrong once is looked at
            return None
        chance = math.exp(step.min_logprob)
        if not chance >= self.draft_confidence:  # written so that a NaN is no trust
            return None
        return Verdict(True, chance, self.draft_confidence, "the draft is sure of it")

    def decide(self, evidence: Evidence, situation: StepContext) -> Verdict:
        """What the target is sure of passes, asked about or not; the rest, by its answer."""
        min_margin = evidence.min_margin
        cut = situation.step.ending is Ending.CAP
        if (
            cut
            or min_margin is None
            or min_margin < stricter(self.target_confidence, situation.resamples)
        ):
            return RatioGate.decide(self, evidence, situation)
        ratio = evidence.mean_margin or 0.0
        return Verdict(True, ratio, self.threshold, "the target would go on so", evidence)
