"""What a bench is given: items of every task behind one face."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.errors import DreamrError
from dreamr.evaluation.tasks import (
    CHECKERS,
    FIRST,
    LIMIT,
    SUITES,
    TASKS,
    BadData,
    UnknownTask,
    by_unit,
    item_of,
    load,
    make_problem,
    reads_as_reference,
)

suites = st.sampled_from(sorted(SUITES))
indices = st.integers(0, 10**6)
# The first picture of a process waits for fonts, and test machines are busy.
unhurried = settings(deadline=None)


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UnknownTask, match=r"no task 'poetry'; known: docmath, story, vqa, mathv"):
        load("poetry")
    assert issubclass(UnknownTask, DreamrError)
    assert set(TASKS) == {"docmath", "story", "vqa", "mathverse", "mmbench", "realworldqa", "mmmu"}


def test_a_suite_begins_behind_the_problems_that_training_looks_at() -> None:
    items = load("story", limit=3)
    assert [item.index for item in items] == [FIRST, FIRST + 1, FIRST + 2]
    assert load("story", limit=2, seed=7)[0].index == FIRST + 7
    assert len(load("vqa")) == LIMIT


def test_items_are_sliced_without_being_made() -> None:
    items = load("vqa", limit=10)
    assert list(items[4:6].numbers) == [FIRST + 4, FIRST + 5]
    assert items[4:6][-1].index == FIRST + 5


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"seed": -1}, {"source": "somewhere"}])
def test_what_a_suite_cannot_be_asked_is_one_clear_line(wrong: dict[str, int]) -> None:
    with pytest.raises(BadData, match=r"^docmath") as caught:
        load("docmath", **wrong)
    assert "\n" not in str(caught.value)


@unhurried
@given(suites, indices)
def test_an_item_shows_its_problem(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    item = item_of(problem, CHECKERS[suite])
    (image,) = item.conversation.images
    assert image.pixels == problem.image.tobytes()
    assert item.conversation.turns[-1].parts[-1].text == problem.question
    assert (item.task, item.index, item.kind) == (suite, index, problem.kind)


@unhurried
@given(suites, indices)
def test_an_answer_is_right_with_its_reasoning_or_alone(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    item = item_of(problem, CHECKERS[suite])
    for text in (f"One.\n\n{problem.final}", problem.answer, f" {problem.answer.upper()}. "):
        assert item.right(text)
    assert item.read(f"One.\n\n{problem.final}") == problem.answer
    assert not item.right(f"{problem.answer} or so")
    assert item.read("  ") is None


@unhurried
@given(suites, indices, st.sampled_from(["", " \n\n", "\t"]), st.booleans())
def test_the_reference_is_right_step_by_step(
    suite: str, index: int, blanks: str, loud: bool
) -> None:
    problem = make_problem(suite, "test", index)
    check = item_of(problem, CHECKERS[suite]).check
    for position, step in enumerate(problem.steps):
        for text in step.renderings:
            assert check(position, (text.upper() if loud else text) + blanks)
    assert check(len(problem.steps), problem.final)
    assert not check(len(problem.steps) + 1, problem.final)


@unhurried
@given(suites, indices)
def test_a_step_in_anothers_place_is_wrong(suite: str, index: int) -> None:
    problem = make_problem(suite, "test", index)
    check = item_of(problem, CHECKERS[suite]).check
    first, second = (step.terse for step in problem.steps[:2])
    assert first == second or not check(0, second)
    assert not check(0, problem.final)
    assert not check(len(problem.steps), first)


def test_a_suite_may_bring_a_checker_of_its_own() -> None:
    problem = make_problem("vqa", "test", 0)
    item = item_of(problem, lambda problem, position, text: None if position else True)
    assert item.check(0, "whatever") is True
    assert item.check(1, "whatever") is None
    assert reads_as_reference in CHECKERS.values()


def test_a_unit_is_right_where_all_its_items_are() -> None:
    one, two = load("docmath", limit=2)
    other = load("story", limit=1)[0]
    assert one.unit == other.unit
    outcomes = [(one, True), (two, False), (one, False), (two, True), (other, True)]
    assert by_unit(outcomes) == {
        ("docmath", one.unit): False,
        ("docmath", two.unit): False,
        ("story", other.unit): True,
    }
