"""Problems are complete and reproducible, have right references and depend on their images."""

import operator
import re
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from dreamr_testbed.suites import (
    EXTRA_SUITES,
    GRID,
    LEVELS,
    SIDE,
    SUITES,
    draw_scene,
    is_correct,
    make_problem,
)
from hypothesis import given
from hypothesis import strategies as st

SUMS = re.compile(r"(\d+) ([-+x]) (\d+) = (-?\d+)")
ALL = sorted({**SUITES, **EXTRA_SUITES})
OPERATORS = {"+": operator.add, "-": operator.sub, "x": operator.mul}

problems = st.builds(
    make_problem,
    st.sampled_from(ALL),
    st.sampled_from(["train", "test"]),
    st.integers(0, 10**9),
    st.sampled_from(LEVELS),
)


@given(problems)
def test_a_problem_is_reproducible(problem):
    again = make_problem(problem.suite, problem.split, problem.index, problem.level)
    assert again == problem
    for one, other in zip(again.images, problem.images, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))


@given(problems)
def test_reference_reasoning_has_four_to_twelve_steps_and_long_one_eight_to_forty(problem):
    least, most = (8, 40) if problem.suite.endswith("-hard") else (4, 12)
    assert least <= len(problem.steps) <= most


@given(problems)
def test_reference_reasoning_has_two_styles(problem):
    for step in problem.steps:
        assert "\n" not in step.terse + step.wordy
        assert len(step.terse) < len(step.wordy)


@given(problems)
def test_every_sum_in_the_reference_is_right(problem):
    for step in problem.steps:
        for text in step.renderings:
            for a, sign, b, result in SUMS.findall(text):
                assert OPERATORS[sign](int(a), int(b)) == int(result), text


@given(problems)
def test_the_answer_is_in_the_last_step(problem):
    assert problem.answer in problem.steps[-1].terse
    assert problem.answer in problem.steps[-1].wordy


@given(problems)
def test_images_have_one_size_and_a_label_for_each_patch(problem):
    assert len(problem.labels) == len(problem.images) == len(problem.scene.views)
    for image, labels in zip(problem.images, problem.labels, strict=True):
        assert (image.size, image.mode) == ((SIDE, SIDE), "RGB")
        assert len(labels) == GRID * GRID
    assert any(pair != ("", "") for labels in problem.labels for pair in labels)
    assert problem.image is problem.images[0]
    assert problem.patches is problem.labels[0]


@given(problems, st.integers(0, 1000))
def test_a_misread_image_keeps_the_question(problem, seed):
    assert problem.scene.misread(Random(seed)).question == problem.question


@pytest.mark.parametrize("suite", ALL)
def test_misreading_changes_the_reasoning_most_of_the_time(suite):
    changed = 0
    for index in range(200):
        scene = draw_scene(suite, "train", index)
        changed += scene.misread(Random(index)).steps != scene.steps
    assert changed > 100


@pytest.mark.parametrize("suite", ALL)
def test_training_and_test_problems_differ(suite):
    train = {draw_scene(suite, "train", i) for i in range(300)}
    test = {draw_scene(suite, "test", i) for i in range(300)}
    assert len(train & test) <= 3


@pytest.mark.parametrize("suite", ALL)
def test_no_kind_of_question_has_a_dominant_answer(suite):
    answers = defaultdict(Counter)
    for index in range(500):
        scene = draw_scene(suite, "test", index)
        answers[type(scene).__name__][scene.answer] += 1
    best = sum(counts.most_common(1)[0][1] for counts in answers.values())
    assert best / 500 < 0.3


def test_an_unknown_suite_lists_the_known_ones():
    with pytest.raises(KeyError, match="docmath, story, vqa, gap"):
        make_problem("poetry", "test", 0)


def test_whitespace_case_and_a_final_period_are_ignored():
    problem = make_problem("story", "test", 0)
    assert is_correct(problem, f"Answer:  {problem.answer.upper()}. ")
    assert not is_correct(problem, problem.answer)
    assert not is_correct(problem, f"Answer: not {problem.answer}")
