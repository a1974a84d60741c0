"""Recipe files are read into dataclasses, and errors in them name their place."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed.recipe.plan import RECIPE, BadRecipe, levels_of, read_recipes
from dreamr_testbed.suites import LEVELS

TEXT = RECIPE.read_text()


def test_both_models_of_the_pair_have_a_recipe():
    recipes = read_recipes()
    assert list(recipes) == ["target", "draft"]
    assert recipes["target"].stages[-1].layers == recipes["target"].size.layers == 12
    assert [stage.kind for stage in recipes["draft"].stages[:3]] == ["see", "drill", "reason"]


def test_a_further_stage_is_read_like_the_others():
    first, second, *_ = read_recipes()["target"].further
    assert (first.name, first.layers, first.best) == ("compare-count", 12, 50)
    assert levels_of("docmath-hard", second.levels) == (1,)
    assert levels_of("clip", second.levels) == LEVELS


def test_a_further_stage_follows_those_before_it():
    recipe = read_recipes()["target"]
    names = [stage.name for stage in recipe.further]
    assert names[:2] == ["compare-count", "several-images"]
    assert names[2:] == ["several-weak", "several-long", "several-judge"]
    for number, name in enumerate(names, 1):
        assert recipe.with_further(name).stages == (*recipe.stages, *recipe.further[:number])


def test_missing_keys_get_defaults_and_lists_become_tuples():
    see, *_, same = read_recipes()["target"].stages
    assert see.shares == dict.fromkeys(("docmath", "story", "vqa"), 1 / 3)
    assert same.shares == {"docmath": 0.4, "story": 0.25, "vqa": 0.35}
    assert levels_of("vqa", same.levels) == LEVELS
    assert same.seldom == ("chart", "count")
    assert see.branches is None


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("layers = 5", "layrs = 5", "target.stages, number 1: unknown layrs; known: name, kind"),
        ("layers = 5\n", "", "target.stages, number 1: layers missing"),
        ("rate = 1e-3", "rate = true", "number 1: rate: True is not of type float"),
        (
            "steps = 4000",
            "steps = 4e3",
            "number 1: steps: 4000.0 is not of type int",
        ),
        ('kind = "see"', 'kind = "sing"', "target.stages, number 1: kind: 'sing' is not of type"),
        (
            "story = 0.25",
            'story = "most"',
            "number 3: shares.story: 'most' is not of type float",
        ),
        ("story = 0.25", "songs = 0.25", "number 3: unknown suite songs; known: docmath, story"),
        ("docmath-hard = [1]", "docmath-hard = [4]", "target.further, .*unknown level 4; known: 1"),
        ("docmath-hard = [1]", "docmath-hard = 1", "levels.docmath-hard: 1 is not of type tuple"),
        ("branches = 8", 'branches = "8"', "target.data_mix: branches: '8' is not of type int"),
        ("[target.size]", "[target.length]", "target: unknown length; known: size, data_mix"),
    ],
)
def test_an_invalid_recipe_is_an_error_that_names_the_place(tmp_path, right, wrong, message):
    assert right in TEXT
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT.replace(right, wrong, 1))
    with pytest.raises(BadRecipe, match=message):
        read_recipes(path)
