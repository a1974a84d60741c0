"""A trained model names the tasks and the number of images of its stages."""

from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from dreamr_testbed.recipe.hints import most_images, trained_tasks, write_hints
from dreamr_testbed.recipe.plan import read_recipes
from dreamr_testbed.suites import LEVELS, TRAINED

from dreamr.engines.local.options import read_hints

RECIPE = read_recipes()["target"]
STAGE = replace(RECIPE.stages[-1], shares={"vqa": 0.5, "clip": 0.5}, levels={"clip": (1, 2)})


def test_the_first_stages_train_the_suites_with_one_image():
    assert trained_tasks(RECIPE.stages) == TRAINED
    assert most_images(RECIPE.stages) == 1


def test_a_stage_with_other_suites_adds_its_levels_and_images():
    stages = (*RECIPE.stages, STAGE)
    assert trained_tasks(stages) == {"clip": (1, 2), **TRAINED}
    assert most_images(stages) == 6
    later = (*stages, replace(STAGE, levels={}))
    assert trained_tasks(later)["clip"] == LEVELS
    assert most_images(later) == 8


def test_the_hints_are_read_by_the_local_engine(tmp_path):
    write_hints(tmp_path, (*RECIPE.stages, STAGE))
    hints = read_hints(tmp_path)
    assert hints.max_images == 6
    assert hints.trained_tasks["clip"] == (1, 2)
