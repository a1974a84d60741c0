"""Hints of a trained model for dreamr: judge prompts, and what the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dreamr.evaluation.tasks import MARKER
from dreamr_testbed.recipe.plan import Stage, levels_of
from dreamr_testbed.recipe.tokens import DELIMITER, QUESTIONS
from dreamr_testbed.suites import SUITES, TRAINED, draw_scene

DRAWN = 100  # scenes of a level that are drawn to count the images


def trained_tasks(stages: Sequence[Stage]) -> dict[str, tuple[int, ...]]:
    """Return the tasks that a model knows after stages, with their levels."""
    levels = {suite: set(known) for suite, known in TRAINED.items()}
    for stage in stages:
        for suite in stage.shares.keys() - SUITES.keys():
            levels.setdefault(suite, set()).update(levels_of(suite, stage.levels))
    return {suite: tuple(sorted(known)) for suite, known in sorted(levels.items())}


def most_images(stages: Sequence[Stage]) -> int:
    """Return the number of images of the largest prompts that stages train on."""
    drawn = (
        draw_scene(suite, "train", index, level)
        for stage in stages
        for suite in stage.shares.keys() - SUITES.keys()
        for level in levels_of(suite, stage.levels)
        for index in range(DRAWN)
    )
    return max((len(scene.views) for scene in drawn), default=1)


def write_hints(folder: Path, stages: Sequence[Stage]) -> None:
    """Write `dreamr.json` of a model that was trained with stages."""
    marks = {"delimiter": DELIMITER, "answer_marker": MARKER}
    hints = {
        **QUESTIONS,
        **marks,
        "max_images": most_images(stages),
        "trained_tasks": trained_tasks(stages),
    }
    (folder / "dreamr.json").write_text(json.dumps(hints, indent=2) + "\n")
