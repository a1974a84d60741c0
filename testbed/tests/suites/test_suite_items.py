"""Drawn problems become items of a task."""

from __future__ import annotations

import pytest
from dreamr_testbed.suites import (
    EXTRA_SUITES,
    FIRST,
    SUITES,
    draw_scene,
    item_of,
    load_suite,
    load_vqa,
    make_problem,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.conversation import flatten
from dreamr.evaluation.tasks import places_in
from dreamr.steps import StepHistory

ALL = sorted({**SUITES, **EXTRA_SUITES})
suites = st.sampled_from(ALL)
indices = st.integers(0, 10**6)
# The first image of a process loads fonts, which can take long on a busy machine.
unhurried = settings(deadline=None)


def test_a_suite_begins_after_the_problems_that_training_evaluates_on() -> None:
    items = load_suite("story", 3, 0, "test")
    assert [item.index for item in items] == [FIRST, FIRST + 1, FIRST + 2]
    assert load_suite("story", 2, 7, "test")[0].index == FIRST + 7


def test_the_splits_draw_different_problems() -> None:
    measured, trained = (load_vqa(1, 0, split)[0] for split in ("test", "train"))
    assert (measured.id, trained.id) == (f"test/{FIRST}", f"train/{FIRST}")
    assert measured.conversation != trained.conversation


@unhurried
@given(suites, indices)
def test_an_item_shows_its_problem(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    item = item_of(problem)
    shown = flatten(item.conversation).images
    assert [image.pixels for image in shown] == [image.tobytes() for image in problem.images]
    assert item.conversation.turns[-1].parts[-1].text == problem.question
    assert (item.task, item.index, item.kind) == (suite, index, problem.kind)


@unhurried
@given(suites, indices)
def test_an_answer_is_right_with_or_without_its_reasoning(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    item = item_of(problem)
    for text in (f"One.\n\n{problem.final}", problem.answer, f" {problem.answer.upper()}. "):
        assert item.right(text)
    assert item.read(f"One.\n\n{problem.final}") == problem.answer
    assert not item.right(f"{problem.answer} or so")
    assert item.read("  ") is item.read("One.\n\nAnswer: ") is None


@unhurried
@given(suites, indices, st.sampled_from(["", " \n\n", "\t"]), st.booleans())
def test_the_reference_is_right_step_by_step(
    suite: str, index: int, blanks: str, loud: bool
) -> None:
    problem = make_problem(suite, "test", index)
    check = item_of(problem).check
    for position, step in enumerate(problem.steps):
        for text in step.renderings:
            assert check(position, (text.upper() if loud else text) + blanks)
    assert check(len(problem.steps), problem.final)
    assert not check(len(problem.steps) + 1, problem.final)


@unhurried
@given(suites, indices)
def test_a_step_from_another_position_is_wrong(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    check = item_of(problem).check
    first, second = (step.terse for step in problem.steps[:2])
    assert first == second or not check(0, second)
    assert not check(0, problem.final)
    assert not check(len(problem.steps), first)


def test_an_item_can_have_a_custom_check() -> None:
    problem = make_problem("vqa", "test", 0)
    item = item_of(problem, lambda problem, position, text: None if position else True)
    assert item.check(0, "whatever") is True
    assert item.check(1, "whatever") is None


@pytest.mark.parametrize("suite", ALL)
def test_no_step_of_a_reference_counts_as_repeated(suite: str) -> None:
    for index in range(100):
        steps = draw_scene(suite, "test", index).steps
        for style in range(2):
            history = StepHistory()
            for step in (step.renderings[style] for step in steps):
                assert history.repeated(step) is None, step
                history.add(step)


@unhurried
@given(suites, indices)
def test_reference_steps_name_right_places_and_others_are_wrong(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    item = item_of(problem)
    count = len(problem.images)
    for position, step in enumerate(problem.steps):
        for text in step.renderings:
            own = item.step_places(position, text) or item.places
            named = places_in(text)
            assert False not in named.checks(item.conversation, own).values()
            for what, numbers in {"page": named.pages, "image": named.images}.items():
                others = set(range(1, count + 2)) - numbers if numbers else ()
                wrong = places_in(" ".join(f"{what} {other}" for other in others))
                assert not any(wrong.checks(item.conversation, own).values())
    assert item.step_places(len(problem.steps), "Answer: 1") is None
