"""Problems with different numbers of images are solved in one batch."""

from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.generate import solve
from dreamr_testbed.recipe.models import load_model
from dreamr_testbed.suites import is_correct, make_problem
from transformers import PreTrainedTokenizerFast

READ = make_problem("story", "test", 5)


@pytest.fixture(scope="module")
def draft():
    return load_model(PAIR / "draft").eval()


@pytest.fixture(scope="module")
def bundled():
    return ExampleMaker(PreTrainedTokenizerFast.from_pretrained(PAIR / "draft"))


def test_each_problem_of_a_batch_is_shown_its_own_images(draft, bundled):
    others = [make_problem(suite, "test", 0, 1) for suite in ("pages", "story-hard")]
    (alone,) = solve(draft, bundled, [READ])
    _, together, _ = solve(draft, bundled, [others[0], READ, others[1]])
    assert is_correct(READ, alone.text)
    assert together.text == alone.text


def test_blank_images_hide_what_the_images_show(draft, bundled):
    other = replace(READ, images=make_problem("story", "test", 6).images)
    one, two = solve(draft, bundled, [READ, other], blank=True)
    assert one.text == two.text
    assert not is_correct(READ, one.text)
