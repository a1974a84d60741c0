"""Suite gap: the kinds of problems in which a weak draft and the target differ most.

The kinds are those of the other suites, so the bundled target solves them without more training.
Their shares give the draft from before SAPO a step acceptance between 70 and 80 %: it mostly fails
at the neighbor of a shape, and tables bring steps that it writes right.
"""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites.docmath import Table, draw_table
from dreamr_testbed.suites.story import Race, draw_race
from dreamr_testbed.suites.vqa import Beside, draw_beside

LARGEST = 19  # points in a table; the target misreads larger numbers more often


def generate(rng: Random, level: int) -> Table | Beside | Race:
    """Draw a random problem; higher levels (1 to 3) have more rows, shapes and runners."""
    (kind,) = rng.choices((_beside, _table, _race), (4, 1, 1))
    return kind(rng, level)


def _beside(rng: Random, level: int) -> Beside:
    return draw_beside(rng, rng.choice({1: (4, 5), 2: (6, 7), 3: (7, 8)}[level]))


def _table(rng: Random, level: int) -> Table:
    return draw_table(rng, level + 2, LARGEST)


def _race(rng: Random, level: int) -> Race:
    return draw_race(rng, 3 if level == 1 else 4)
