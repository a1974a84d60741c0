"""The hash of a recipe tells whether a model was trained by it."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe.fingerprint import fingerprint
from dreamr_testbed.recipe.models import Size
from dreamr_testbed.recipe.plan import Recipe, Stage, read_recipes

TINY = Size(4, 32, 96, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
SEE = Stage("see", "see", steps=2, batch=4, rate=3e-3, layers=2)
REASON = Stage("reason", "reason", steps=2, batch=4, rate=3e-3, layers=2)
RECIPES = read_recipes()
RECIPE = Recipe(TINY, RECIPES["target"].data_mix, (SEE, REASON))


def test_the_hash_of_a_recipe_depends_on_every_part():
    before = fingerprint(RECIPE)
    slower = replace(RECIPE, stages=(SEE, replace(REASON, rate=1e-3)))
    changed = [
        slower,
        replace(RECIPE, size=replace(TINY, width=64)),
        replace(RECIPE, data_mix=replace(RECIPE.data_mix, slips=1)),
    ]
    hashes = {before, *map(fingerprint, changed)}
    assert len(hashes) == 4


@pytest.mark.parametrize("name", RECIPES)
def test_the_embedded_pair_carries_the_hash_of_its_recipe(name):
    config = json.loads((PAIR / name / "config.json").read_text())
    assert config["dreamr_recipe"] == fingerprint(RECIPES[name])


def test_fields_that_came_later_count_where_they_have_an_effect():
    changes = [
        {"lookups": 0.5}, {"named": 0.5}, {"levels": {"vqa": (1,)}}, {"shares": {"vqa": 1.0}},
    ]  # fmt: skip
    changed = [replace(RECIPE, stages=(SEE, replace(REASON, **one))) for one in changes]
    assert len({fingerprint(RECIPE), *map(fingerprint, changed)}) == 5


def test_a_further_stage_is_no_part_of_the_hash_until_a_model_has_had_it():
    more = replace(RECIPE, further=(replace(REASON, name="more", best=2),))
    assert fingerprint(more) == fingerprint(RECIPE)
    assert fingerprint(more.with_further("more")) != fingerprint(RECIPE)
    assert more.with_further(None) == more.with_further("see") == more
