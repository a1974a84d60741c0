"""The stages of the recipe and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dreamr_testbed.recipe.examples import DataMix


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `steps` optimiser steps at one learning rate, or falling to nothing (`decay`).

    kind: 'see' trains the tower to name patches, 'drill' the decoder on drills alone, 'reason'
    both on solutions. 'compare' trains nothing: above the `frozen` lowest layers it puts one that
    is fitted to `steps` batches of examples (testbed/src/dreamr_testbed/recipe/comparer.py).

    layers: depth of the decoder in this stage; reading: share of examples that only read the
    picture out; easy: share of examples at level 1, falling linearly to a third over the stage.
    shares: of problems of docmath, story and vqa. seldom: kinds of scenes that are known well
    already; four of five of their problems are drawn anew.
    drills: share of examples that are drills, falling to nothing over the first half.
    tower: the tower's part of the rate, once it has learnt to see.
    frozen: so many of the lowest layers stay as they are, and with them all that lies below.
    branches: what the model's diet says, unless it is given here; so with `others`.
    blend: the stage ends with so much of its weights and the rest of those that it began with: a
    short stage at a high rate finds what it is after, and the mean forgets nothing for it.
    errors: share of examples built around mistakes that the draft really made, where known.
    """

    name: str
    kind: Literal["see", "drill", "reason", "compare"]
    steps: int
    batch: int
    rate: float
    layers: int
    reading: float = 0.0
    easy: float = 1 / 3
    decay: bool = False
    shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    seldom: tuple[str, ...] = ()
    drills: float = 0.0
    errors: float = 0.0
    tower: float = 0.05
    frozen: int = 0
    branches: int | None = None
    others: int = 0
    blend: float = 1.0

    def diet(self, usual: DataMix) -> DataMix:
        """The diet of this stage, for a model that usually has another."""
        branches = usual.branches if self.branches is None else self.branches
        return replace(usual, branches=branches, others=self.others)


RECIPES: dict[str, tuple[Stage, ...]] = {
    "target": (
        Stage("see", "see", 4000, 64, 1e-3, layers=5),
        Stage("drill", "drill", 700, 64, 1.5e-3, layers=5),
        Stage(
            "read",
            "reason",
            500,
            32,
            1.5e-3,
            layers=5,
            reading=0.8,
            easy=1.0,
            shares=(0.5, 0.25, 0.25),
        ),
        # First to solve, then to judge: who knows the next step sees what is wrong with another.
        Stage(
            "reason",
            "reason",
            2500,
            32,
            1.5e-3,
            layers=5,
            reading=0.25,
            easy=0.4,
            shares=(0.45, 0.275, 0.275),
            drills=0.3,
            branches=1,
        ),
        Stage(
            "compare",
            "compare",
            100,
            12,
            0.0,
            layers=6,
            shares=(0.55, 0.2, 0.25),
            frozen=4,
        ),
        Stage(
            "judge",
            "reason",
            240,
            24,
            1.2e-3,
            layers=12,
            reading=0.03,
            shares=(0.45, 0.15, 0.4),
            errors=0.35,
            tower=0.1,
            decay=True,
        ),
        # Solving again, where it is weakest, and judging of answers.
        Stage(
            "polish",
            "reason",
            300,
            24,
            1e-3,
            layers=12,
            easy=0.1,
            shares=(0.5, 0.08, 0.42),
            seldom=("chart", "count"),
            errors=0.25,
            tower=0.1,
            decay=True,
            branches=3,
        ),
        # What was still wrong then was a 0 read as 6 or 8: the tower has to look closer.
        Stage(
            "digits",
            "reason",
            100,
            24,
            8e-4,
            layers=12,
            reading=0.35,
            easy=0.2,
            shares=(0.8, 0.06, 0.14),
            seldom=("chart", "receipt", "count"),
            errors=0.1,
            tower=0.6,
            decay=True,
            branches=2,
            blend=0.5,
        ),
        # And judging again, mostly of the draft's own mistakes.
        Stage(
            "refine",
            "reason",
            150,
            24,
            8e-4,
            layers=12,
            easy=0.1,
            shares=(0.42, 0.1, 0.48),
            seldom=("chart", "count"),
            errors=0.4,
            tower=0.1,
            decay=True,
            branches=4,
            blend=0.6,
        ),
        # What the judges of other methods ask, so that they are compared at their best.
        Stage(
            "peers",
            "reason",
            120,
            24,
            8e-4,
            layers=12,
            easy=0.1,
            shares=(0.45, 0.15, 0.4),
            seldom=("chart", "count"),
            errors=0.4,
            tower=0.05,
            decay=True,
            branches=3,
            others=2,
        ),
        # To compare two steps takes longer than to judge one.
        Stage(
            "same",
            "reason",
            80,
            24,
            8e-4,
            layers=12,
            easy=0.1,
            shares=(0.4, 0.25, 0.35),
            seldom=("chart", "count"),
            errors=0.3,
            tower=0.05,
            decay=True,
            branches=2,
            others=4,
            blend=0.85,
        ),
    ),
    "draft": (
        Stage("see", "see", 3500, 64, 1e-3, layers=2),
        Stage("drill", "drill", 1000, 64, 2e-3, layers=2),
        Stage(
            "read",
            "reason",
            500,
            32,
            2e-3,
            layers=2,
            reading=0.8,
            easy=1.0,
            shares=(0.5, 0.25, 0.25),
        ),
        Stage(
            "reason",
            "reason",
            3500,
            24,
            2e-3,
            layers=2,
            reading=0.1,
            easy=0.4,
            shares=(0.6, 0.2, 0.2),
            drills=0.3,
        ),
        Stage(
            "anneal",
            "reason",
            1500,
            24,
            2e-3,
            layers=2,
            reading=0.05,
            shares=(0.7, 0.15, 0.15),
            decay=True,
        ),
        Stage(
            "style",
            "reason",
            80,
            24,
            6e-4,
            layers=2,
            reading=0.05,
            shares=(0.06, 0.24, 0.7),
            decay=True,
        ),
    ),
}
