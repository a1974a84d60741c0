"""A gate that estimates the probability that a step is right, learned from labeled steps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query, QueryKind
from dreamr.gate.verdict import (
    CUT_REASON,
    Gate,
    StepContext,
    Verdict,
    check_shares,
    stricter,
)
from dreamr.steps import Ending

SIGNALS = (
    "ratio", "mass", "mean_margin", "min_margin", "min_logprob", "matched_tokens",
    "draft_probability", "length", "position", "resamples", "number",
)  # fmt: skip
_NUMBER = re.compile(r"\d")
_EDGE = 1e-6  # smallest distance of a probability from 0 and 1, to keep logits finite


def signals(evidence: Evidence, context: StepContext) -> tuple[float, ...]:
    """Return what is known about a step as numbers of similar scale, in the order of `SIGNALS`.

    Probabilities are converted to logits, since odds are what a logistic regression adds up. Values
    that the engine does not know are 0. `matched_tokens` is the share of tokens, from the first,
    that the target would have written itself. `draft_probability` is the lowest probability that
    the draft gave a token.
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
    """Gate that accepts steps by a logistic regression on `signals`.

    `dreamr calibrate` fits it and stores it in a profile.

    Attributes:
        weights: Weights of the signals, in the order of `SIGNALS`.
        bias: Intercept of the regression.
        threshold: Lowest probability of being right that is accepted, in [0, 1].

    Raises:
        ValueError: If there is not one weight per signal, or the threshold is outside [0, 1].
    """

    query_kind: ClassVar[QueryKind] = "verdict"
    weights: tuple[float, ...]
    bias: float
    threshold: float = 0.9

    def __post_init__(self) -> None:
        if len(self.weights) != len(SIGNALS):
            raise ValueError(f"weights must be {len(SIGNALS)} numbers, not {len(self.weights)}")
        check_shares(self, "threshold")

    @property
    def query(self) -> Query:
        """Query for a verdict in the labels' words."""
        return Query(self.query_kind)

    def probability(self, evidence: Evidence, context: StepContext) -> float:
        """Return the probability that the step is right."""
        values = signals(evidence, context)
        odds = self.bias + sum(w * x for w, x in zip(self.weights, values, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps and steps without evidence; compare the probability of the others."""
        chance = self.probability(evidence, context)
        needed = stricter(self.threshold, context.resamples)
        cut = context.step.ending is Ending.CAP
        unanswered = not cut and not evidence.mass > 0.0  # also if it is not a number
        if cut:
            accepted, reason = False, CUT_REASON
        elif unanswered:
            accepted, reason = False, "no evidence: no mass on the labels"
        else:
            accepted = chance >= needed
            reason = f"right with probability {chance:.3f}"
        return Verdict(
            accepted, chance, needed, reason, evidence, unanswered=unanswered, kind="probability"
        )
