"""Recipe files are read into dataclasses, and errors in them name their place."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed.recipe.plan import RECIPE, BadRecipe, read_recipes

TEXT = RECIPE.read_text()


def test_both_models_of_the_pair_have_a_recipe():
    recipes = read_recipes()
    assert list(recipes) == ["target", "draft"]
    assert recipes["target"].stages[-1].layers == recipes["target"].size.layers == 12
    assert [stage.kind for stage in recipes["draft"].stages[:3]] == ["see", "drill", "reason"]


def test_a_further_stage_is_read_like_the_others():
    (stage,) = read_recipes()["target"].further
    assert (stage.name, stage.layers, stage.best) == ("compare-count", 12, 50)


def test_missing_keys_get_defaults_and_lists_become_tuples():
    see, *_, same = read_recipes()["target"].stages
    assert see.shares == (1 / 3, 1 / 3, 1 / 3)
    assert same.shares == (0.4, 0.25, 0.35)
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
            "shares = [0.5, 0.25, 0.25]",
            "shares = [1, 2]",
            "number 3: shares: .*of type tuple",
        ),
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
