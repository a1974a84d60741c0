"""Suites by name and problems by index."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from dreamr.evaluation.tasks import Split
from dreamr_testbed.suites import (
    clip,
    docmath,
    docmath_hard,
    gap,
    pages,
    spoken,
    story,
    story_hard,
    vqa,
    vqa_hard,
)
from dreamr_testbed.suites.canvas import Canvas
from dreamr_testbed.suites.problem import Problem, Scene

Generate: TypeAlias = Callable[[Random, int], Scene]

LEVELS = (1, 2, 3)
SUITES: dict[str, Generate] = {  # that the pair is trained on
    "docmath": docmath.generate,
    "story": story.generate,
    "vqa": vqa.generate,
}
EXTRA_SUITES: dict[str, Generate] = {  # run only by name
    "gap": gap.generate,
    "docmath-hard": docmath_hard.generate,
    "story-hard": story_hard.generate,
    "vqa-hard": vqa_hard.generate,
    "pages": pages.generate,
    "pages-hard": pages.generate_hard,
    "clip": clip.generate,
    "clip-hard": clip.generate_hard,
    "spoken": spoken.generate,
}
# What the recipe trains on; the kinds of the suite gap are those of the others.
TRAINED = dict.fromkeys(("docmath", "gap", "story", "vqa"), LEVELS)


def draw_scene(suite: str, split: Split, index: int, level: int | None = None) -> Scene:
    """Draw the scene of a problem without its images; arguments as for `make_problem`."""
    return _draw(suite, split, index, level)[2]


def _draw(suite: str, split: Split, index: int, level: int | None) -> tuple[Random, int, Scene]:
    known = {**SUITES, **EXTRA_SUITES}
    if suite not in known:
        raise KeyError(f"no suite {suite!r}; known: {', '.join(known)}")
    rng = Random(f"{suite}/{split}/{index}")
    drawn = rng.choice(LEVELS)
    level = drawn if level is None else level
    return rng, level, known[suite](rng, level)


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
    rng, level, scene = _draw(suite, split, index, level)
    # Pages of one document and frames of one video share background, font and ink.
    seed = None if scene.medium == "images" else rng.getrandbits(32)
    drawn = []
    for paint in scene.views:
        canvas = Canvas(rng, None if seed is None else Random(seed))
        paint(canvas)
        drawn.append(canvas.finish())
    images, labels = zip(*drawn, strict=True)
    return Problem(suite, split, index, level, scene, images, labels)
