"""A probability that a step is right, learnt from steps of which that is known."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.gate.verdict import Gate, StepContext, Verdict, stricter
from dreamr.steps import Ending

SIGNALS = (
    "ratio", "mass", "mean_margin", "min_margin", "min_logprob", "matched_tokens",
    "draft_probability", "length", "position", "resamples", "number",
)  # fmt: skip
_NUMBER = re.compile(r"\d")
_EDGE = 1e-6  # probabilities are kept so far from 0 and 1


def signals(evidence: Evidence, context: StepContext) -> tuple[float, ...]:
    """What is known about a step, as numbers of like size, in the order of `SIGNALS`.

    Probabilities are given as their logits, since it is the odds that add up; what an engine does
    not know is 0. matched_tokens: the share of the tokens, from the first on, that the target would
    have written. draft_probability: the least probability that the draft gave a token.
    """
    step = context.step
    return (
        _logit(evidence.ratio),
        _logit(min(1.0, evidence.mass)),
        _logit(evidence.mean_margin),
        _logit(evidence.min_margin),
        0.0 if evidence.min_logprob is None else max(-30.0, evidence.min_logprob),
        evidence.matched_tokens / evidence.tokens if evidence.tokens else 0.0,
        _logit(None if step.min_logprob is None else math.exp(step.min_logprob)),
        math.log1p(step.tokens),
        math.log1p(context.position),
        math.log1p(context.resamples),
        float(bool(_NUMBER.search(step.text))),
    )


def _logit(share: float | None) -> float:
    if share is None:
        return 0.0
    kept = min(1 - _EDGE, max(_EDGE, share))
    return math.log(kept / (1 - kept))


@dataclass(frozen=True, slots=True)
class LearnedGate(Gate):
    """Accept where a logistic regression on the `signals` calls the step right often enough.

    weights: of the signals, in their order. bias: of all. threshold: the least probability. Made by
    `dreamr calibrate`, and kept in its profiles.

    Raises:
        ValueError: another number of weights than of signals, or a threshold outside [0, 1].
    """

    asks: ClassVar[Asks] = "verdict"
    weights: tuple[float, ...]
    bias: float
    threshold: float = 0.9

    def __post_init__(self) -> None:
        if len(self.weights) != len(SIGNALS):
            raise ValueError(f"{len(self.weights)} weights for {len(SIGNALS)} signals")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must lie in [0, 1], not {self.threshold}")

    @property
    def query(self) -> Query:
        """What the labels' words ask."""
        return Query(self.asks)

    def probability(self, evidence: Evidence, context: StepContext) -> float:
        """That the step is right."""
        values = signals(evidence, context)
        odds = self.bias + sum(w * x for w, x in zip(self.weights, values, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps and missing evidence; else compare the probability, as the ratio."""
        chance = self.probability(evidence, context)
        needed = stricter(self.threshold, context.resamples)
        if context.step.ending is Ending.CAP:
            accepted, reason = False, "cut by the length cap"
        elif not evidence.mass > 0.0:
            accepted, reason = False, "no evidence: nothing on the labels"
        else:
            accepted = chance >= needed
            reason = f"right with probability {chance:.3f}"
        return Verdict(accepted, chance, needed, reason, evidence, kind="probability")
