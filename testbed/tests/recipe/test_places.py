"""Lookups read lines of several images by their places."""

from random import Random

import pytest

pytest.importorskip("transformers")

from dreamr_testbed.recipe.examples import IGNORE
from dreamr_testbed.recipe.places import NAMES, draw_lookups


@pytest.mark.parametrize("seed", range(20))
def test_each_line_is_trained_and_its_place_is_given(maker, seed):
    lookups = draw_lookups(Random(seed))
    example = maker.lookups(lookups)
    lines = "".join(text for text, trained in lookups.pieces if trained)
    labels = [label for label in example.labels if label != IGNORE]
    assert maker.tokenizer.decode(labels) == f"{lines}<|end|>"
    places = [text for text, trained in lookups.pieces if not trained]
    assert len(set(places)) == len(places)
    assert all(place.startswith(NAMES[lookups.medium]) for place in places)


def test_lookups_show_two_to_four_images_of_every_medium(maker):
    drawn = [draw_lookups(Random(seed)) for seed in range(60)]
    assert {len(lookups.images) for lookups in drawn} == {2, 3, 4}
    assert {lookups.medium for lookups in drawn} == NAMES.keys()
