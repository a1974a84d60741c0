"""What the target is asked about a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Asks: TypeAlias = Literal["verdict", "score", "same", "agreement"]


@dataclass(frozen=True, slots=True)
class Query:
    """The question of one judge call.

    asks: 'verdict', whether the step is right, in the words of the labels (DREAM-R's TBVM);
    'score', how sound it is, from 0 to 9 (SpecReason); 'same', whether it means the same as the
    target's own step, in the words of the labels (Lookahead Reasoning); 'agreement', no question at
    all: how far the target would have written the same (token-level speculative decoding).
    others: for 'same', the target's own step in the place of each candidate.
    unasked: nothing is asked about a candidate that begins so: it is read, for what the target
    would write in its place, and its evidence holds no more than for 'agreement'. Empty: none is.
    target_confidence: nothing need be asked about a step of which no token is weaker than this
    (`Evidence.min_margin`); an engine that knows spares itself the question where that is quicker.
    None: everything is asked about.
    """

    asks: Asks = "verdict"
    others: tuple[str, ...] = ()
    unasked: str = ""
    target_confidence: float | None = None

    def concerns(self, candidate: str) -> bool:
        """Whether anything is asked about this candidate."""
        silent = self.unasked and candidate.lstrip().startswith(self.unasked)
        return self.asks != "agreement" and not silent


VERDICT = Query()
