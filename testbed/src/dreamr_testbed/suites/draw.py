"""The suites by name, and their problems by number."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dreamr.evaluation.tasks import Split
from dreamr_testbed.suites import docmath, story, vqa
from dreamr_testbed.suites.canvas import Canvas
from dreamr_testbed.suites.problem import Problem, Scene

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
    image, patches = canvas.finish()
    return Problem(suite, split, index, level, scene, image, patches)
