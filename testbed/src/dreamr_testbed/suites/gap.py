"""Suite gap: the kinds of problems in which a weak draft and the target differ most.

The kinds are those of the other suites, so the bundled target solves them without more training.
"""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites.docmath import Table, draw_table
from dreamr_testbed.suites.story import Race, draw_race
from dreamr_testbed.suites.vqa import Beside, draw_beside


def generate(rng: Random, level: int) -> Table | Beside | Race:
    """Draw a random problem; higher levels (1 to 3) have more rows, shapes and runners."""
    kind = rng.choice((_table, _beside, _race))
    return kind(rng, level)


def _table(rng: Random, level: int) -> Table:
    return draw_table(rng, level + 2, 19)


def _beside(rng: Random, level: int) -> Beside:
    return draw_beside(rng, {1: 4, 2: 6, 3: 8}[level])


def _race(rng: Random, level: int) -> Race:
    return draw_race(rng, 3 if level == 1 else 4)
