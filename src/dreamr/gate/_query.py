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
    """

    asks: Asks = "verdict"
    others: tuple[str, ...] = ()


VERDICT = Query()
