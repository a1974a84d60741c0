"""Suites clip and clip-hard: questions about four to eight frames of a video.

Shapes move, come and go, and are hidden. Each frame alone says little: the reference reasoning goes
through the frames and keeps what has been seen.
"""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites.clip.coming import Coming, Number, draw_coming, draw_number
from dreamr_testbed.suites.clip.moves import Moves, draw_moves
from dreamr_testbed.suites.clip.shells import Shells, draw_shells
from dreamr_testbed.suites.clip.visits import Visits, draw_visits

__all__ = ["Coming", "Moves", "Number", "Shells", "Visits", "generate", "generate_hard"]

_KINDS = (draw_visits, draw_moves, draw_coming, draw_number, draw_shells)


def generate(rng: Random, level: int) -> Visits | Moves | Coming | Number | Shells:
    """Draw a random clip of four frames at level 1, five or six at 2, seven or eight at 3."""
    frames = rng.randint(*{1: (4, 4), 2: (5, 6), 3: (7, 8)}[level])
    return rng.choice(_KINDS)(rng, frames, 1)


def generate_hard(rng: Random, level: int) -> Visits | Moves | Coming | Number | Shells:
    """Draw a random clip in which two shapes matter: of six frames at level 1, up to eight at 3."""
    return rng.choice(_KINDS)(rng, 5 + level, 2)
