"""The stages of the recipe and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `steps` optimiser steps at one learning rate, or falling to nothing (`decay`).

    layers: depth of the decoder in this stage; reading: share of examples that only read the
    picture out; easy: share of examples at level 1, falling linearly to a third over the stage.
    errors: share of examples built around mistakes that the draft really made, where known.
    """

    name: str
    kind: Literal["see", "reason"]
    steps: int
    batch: int
    rate: float
    layers: int
    reading: float = 0.0
    easy: float = 1 / 3
    decay: bool = False
    errors: float = 0.0


RECIPES: dict[str, tuple[Stage, ...]] = {
    "target": (
        Stage("see", "see", 1500, 64, 1e-3, layers=5),
        Stage("read", "reason", 500, 32, 1e-3, layers=5, reading=0.8, easy=1.0),
        Stage("reason", "reason", 7000, 24, 1e-3, layers=5, reading=0.05, easy=0.7),
        Stage("grown", "reason", 3000, 24, 7e-4, layers=12, reading=0.02, errors=0.3),
        Stage("anneal", "reason", 1500, 24, 7e-4, layers=12, decay=True, errors=0.4),
    ),
    "draft": (
        Stage("see", "see", 1500, 64, 1e-3, layers=2),
        Stage("read", "reason", 500, 32, 2e-3, layers=2, reading=0.8, easy=1.0),
        Stage("reason", "reason", 8000, 24, 2e-3, layers=2, reading=0.05, easy=0.7),
        Stage("anneal", "reason", 2500, 24, 2e-3, layers=2, decay=True),
    ),
}
TOWER_RATE = 0.05  # of the decoder's, once the tower has learnt to see
