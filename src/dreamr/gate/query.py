"""Queries: what a judge call asks about steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Asks: TypeAlias = Literal["verdict", "score", "same", "agreement"]


@dataclass(frozen=True, slots=True)
class Query:
    """What one judge call asks.

    Attributes:
        asks: 'verdict': whether the step is right, answered with a label (TBVM in the paper).
            'score': how sound it is, from 0 to 9 (SpecReason). 'same': whether it is equivalent to
            the target's own step, answered with a label (Lookahead Reasoning). 'agreement': no
            judge prompt; only how many tokens the target would have written itself (token-level
            speculative decoding).
        others: For 'same', the target's own step for each candidate.
        unasked: Candidates that begin with this text are read without a judge prompt, and their
            evidence is that of 'agreement'. Empty if all are asked about.
        target_confidence: The judge prompt may be skipped for a step in which no token has a margin
            below this (see `Evidence.min_margin`). Engines do so where it saves time. None to ask
            about every step.
    """

    asks: Asks = "verdict"
    others: tuple[str, ...] = ()
    unasked: str = ""
    target_confidence: float | None = None

    def concerns(self, candidate: str) -> bool:
        """Check whether the judge prompt applies to this candidate."""
        silent = self.unasked and candidate.lstrip().startswith(self.unasked)
        return self.asks != "agreement" and not silent


VERDICT = Query()
