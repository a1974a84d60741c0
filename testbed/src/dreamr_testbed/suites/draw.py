"""Suites by name and problems by index."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from dreamr.evaluation.tasks import Split
from dreamr_testbed.suites import docmath, gap, story, vqa
from dreamr_testbed.suites.canvas import Canvas
from dreamr_testbed.suites.problem import Problem, Scene

Generate: TypeAlias = Callable[[Random, int], Scene]

LEVELS = (1, 2, 3)
SUITES: dict[str, Generate] = {  # that the pair is trained on
    "docmath": docmath.generate,
    "story": story.generate,
    "vqa": vqa.generate,
}
EXTRA_SUITES: dict[str, Generate] = {"gap": gap.generate}  # for benchmarks only


def make_problem(suite: str, split: Split, index: int, level: int | None = None) -> Problem:
    """Draw a problem of a suite; equal arguments give the same problem on every machine.

    Args:
        suite: One of `SUITES` or `EXTRA_SUITES`.
        split: 'train' or 'test'; the splits share no seed.
        index: Number of the problem, at least 0.
        level: Difficulty from 1 to 3; by default random, all levels equally likely.

    Raises:
        KeyError: If the suite is unknown.
    """
    known = {**SUITES, **EXTRA_SUITES}
    if suite not in known:
        raise KeyError(f"no suite {suite!r}; known: {', '.join(known)}")
    rng = Random(f"{suite}/{split}/{index}")
    drawn = rng.choice(LEVELS)
    level = drawn if level is None else level
    scene = known[suite](rng, level)
    canvas = Canvas(rng)
    scene.paint(canvas)
    image, patches = canvas.finish()
    return Problem(suite, split, index, level, scene, image, patches)
