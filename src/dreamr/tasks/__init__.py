"""Task suites: problems with pictures that the project draws, reference reasoning, scorers."""

from collections.abc import Callable
from random import Random

from dreamr.tasks import docmath, story, vqa
from dreamr.tasks._canvas import GRID, PATCH, SIDE, Canvas
from dreamr.tasks._problem import (
    MARKER,
    Problem,
    ReferenceStep,
    Scene,
    Split,
    extract_answer,
    is_correct,
)

__all__ = [
    "GRID",
    "LEVELS",
    "MARKER",
    "PATCH",
    "SIDE",
    "SUITES",
    "Problem",
    "ReferenceStep",
    "Scene",
    "Split",
    "extract_answer",
    "is_correct",
    "make_problem",
]

LEVELS = (1, 2, 3)
SUITES: dict[str, Callable[[Random, int], Scene]] = {
    "docmath": docmath.generate,
    "story": story.generate,
    "vqa": vqa.generate,
}


def make_problem(suite: str, split: Split, index: int, level: int | None = None) -> Problem:
    """Problem `index` of a suite, the same on every machine.

    Args:
        suite: one of `SUITES`.
        split: 'train' or 'test'; the two never share a seed.
        index: any non-negative number.
        level: 1 to 3; by default drawn from the seed, all levels alike.

    Raises:
        KeyError: the suite is unknown; the message lists the known ones.
    """
    if suite not in SUITES:
        raise KeyError(f"no suite {suite!r}; known: {', '.join(SUITES)}")
    rng = Random(f"{suite}/{split}/{index}")
    drawn = rng.choice(LEVELS)
    level = drawn if level is None else level
    scene = SUITES[suite](rng, level)
    canvas = Canvas(rng)
    scene.paint(canvas)
    picture, patches = canvas.finish()
    return Problem(suite, split, index, level, scene, picture, patches)
