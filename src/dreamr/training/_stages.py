"""The stages of the recipe and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dreamr.training._examples import Diet


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `steps` optimiser steps at one learning rate, or falling to nothing (`decay`).

    layers: depth of the decoder in this stage; reading: share of examples that only read the
    picture out; easy: share of examples at level 1, falling linearly to a third over the stage.
    drills: share of examples that are drills, falling to nothing over the first half.
    branches, wordy: what the model's diet says, unless they are given here.
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
    drills: float = 0.0
    errors: float = 0.0
    branches: int | None = None
    wordy: float | None = None

    def diet(self, usual: Diet) -> Diet:
        """The diet of this stage, for a model that usually has another."""
        branches = usual.branches if self.branches is None else self.branches
        wordy = usual.wordy if self.wordy is None else self.wordy
        return replace(usual, branches=branches, wordy=wordy)


RECIPES: dict[str, tuple[Stage, ...]] = {
    "target": (
        Stage("see", "see", 1500, 64, 1e-3, layers=5),
        Stage("read", "reason", 500, 32, 1e-3, layers=5, reading=0.8, easy=1.0),
        # First to solve, then to judge: who knows the next step sees what is wrong with another.
        Stage(
            "reason",
            "reason",
            6000,
            32,
            1e-3,
            layers=5,
            reading=0.05,
            easy=0.7,
            drills=0.5,
            branches=1,
            wordy=0.1,
        ),
        Stage("judge", "reason", 2000, 24, 1e-3, layers=5, reading=0.02, errors=0.3),
        Stage("grown", "reason", 3000, 24, 7e-4, layers=12, reading=0.02, errors=0.3),
        Stage("anneal", "reason", 1500, 24, 7e-4, layers=12, decay=True, errors=0.4),
    ),
    "draft": (
        Stage("see", "see", 1500, 64, 1e-3, layers=2),
        Stage("read", "reason", 500, 32, 2e-3, layers=2, reading=0.8, easy=1.0),
        Stage("reason", "reason", 8000, 24, 2e-3, layers=2, reading=0.05, easy=0.7, drills=0.5),
        Stage("anneal", "reason", 2500, 24, 2e-3, layers=2, decay=True),
    ),
}
TOWER_RATE = 0.05  # of the decoder's, once the tower has learnt to see
