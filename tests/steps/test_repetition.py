"""Repetition: which steps repeat earlier ones, and which texts end in a loop."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.steps import Ending, LoopSearch, Step, StepHistory

LONG = "The square has four equal sides of two meters each.\n\n"
NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
STEPS = st.lists(st.text("ab1 2,.\n:", max_size=40), max_size=12)
LONG_STEPS = st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=8, max_size=12).map(
    " ".join
)


def repeated(*steps: str) -> int | None:
    """Return which step the last one repeats."""
    *before, last = steps
    return StepHistory(before).repeated(last)


def test_a_step_with_the_same_text_repeats_the_first_of_its_kind() -> None:
    assert repeated("Other words.\n\n", LONG, "So.\n\n", LONG, LONG) == 2


def test_white_space_makes_no_difference() -> None:
    assert repeated(LONG, f"\n {LONG.strip().replace(' ', '  ')}\n\n") == 1


def test_the_third_step_with_other_numbers_repeats_the_second() -> None:
    tries = [f"If the first item costs {n} dollars, the rest costs {m}." for n, m in
             [(5, 17), (9, 13), (2, 20)]]  # fmt: skip
    assert repeated(*tries[:2]) is None
    assert repeated(tries[0], LONG, tries[1], tries[2]) == 3


def test_steps_that_count_something_are_new() -> None:
    panels = [f"Panel {n}: the place of the ball stays the same.\n\n" for n in range(8, 12)]
    assert repeated(*panels) is None


def test_other_numbers_may_change_with_the_counter() -> None:
    rows = [f"Panel {n}: red gives green 1, so it has {9 - n}." for n in range(1, 4)]
    assert repeated(*rows) is None


def test_a_counter_may_go_on_after_other_steps() -> None:
    one, two, three, four, five = (f"Panel {n}: there is nothing new in it." for n in range(1, 6))
    assert repeated(one, two, LONG, LONG, five) is None
    assert repeated(one, two, five) == 2
    assert repeated(one, three, two) == 2
    assert repeated(one, two, four) == 2


@pytest.mark.parametrize(
    "step",
    ["## Step 3", "}\n\n", "return 0;\n\n", "So:\n\n", "| 0 | 0 | 0 | 0 | 0 | 0 |\n\n", "", "\n\n"],
)
def test_headings_brackets_short_lines_and_rows_of_numbers_never_repeat(step: str) -> None:
    assert repeated(*[step] * 9) is None


def test_a_number_sign_is_a_character_like_others() -> None:
    rows = [f"Row {name} of the table holds the following total values." for name in "12#"]
    assert StepHistory(rows[:2]).repeated(rows[2]) is None
    assert StepHistory([rows[2], rows[0]]).repeated(rows[1]) is None


def test_very_long_numbers_are_compared_too() -> None:
    digits = "1" * 5000
    steps = [f"The product of all these large numbers is {digits}{n}." for n in range(3)]
    assert repeated(*steps) == 2


@given(STEPS)
def test_steps_that_differ_in_words_are_never_repeated(steps: list[str]) -> None:
    history, shapes = StepHistory(), set()
    for step in steps:
        shape = NUMBERS.sub("#", " ".join(step.split()))
        if shape not in shapes:
            assert history.repeated(step) is None
        shapes.add(shape)
        history.add(step)


@given(STEPS, LONG_STEPS, STEPS)
def test_a_repeated_step_always_is(before: list[str], step: str, between: list[str]) -> None:
    assert repeated(*before, step, *between, f"{step}\n\n") is not None


@given(STEPS, st.text("ab1 2,.\n:", max_size=40))
def test_a_repeated_step_is_an_earlier_one(before: list[str], step: str) -> None:
    number = repeated(*before, step)
    if number is not None:
        one, other = (NUMBERS.sub("#", " ".join(t.split())) for t in (before[number - 1], step))
        assert one == other


# Loops


def loops(*texts: str, times: int = 3, ending: Ending = Ending.DELIMITER) -> bool:
    search = LoopSearch()
    for text in texts:
        search.add(Step(text, 1, ending))
    return search.repeats(times)


def test_the_same_step_three_times_in_a_row_is_a_loop() -> None:
    assert not loops(LONG, LONG)
    assert not loops(LONG, LONG, "Wait.\n\n", LONG)
    assert loops("So.\n\n", LONG, LONG, LONG)
    assert not loops(LONG, LONG, LONG, times=4)


def test_a_cycle_of_steps_is_a_loop() -> None:
    cycle = [LONG, "Wait, that is wrong.\n\n", f"But {LONG}"]
    assert not loops(*cycle, *cycle, *cycle[:2])
    assert loops("So.\n\n", *cycle, *cycle, *cycle)
    assert loops("So.\n\n", *cycle, *cycle, *cycle, cycle[0])


def test_short_steps_need_more_repetitions() -> None:
    assert not loops(*["Wait.\n\n"] * 20)
    assert loops(*["Wait.\n\n"] * 40)


def test_a_passage_without_a_delimiter_is_a_loop_after_four_repetitions() -> None:
    passage = "and then the ball moves to the left, so I have to look at it again, "
    cut = Ending.CAP
    assert not loops(f"First, {passage * 3}", ending=cut)
    assert loops(f"First, {passage * 4}", ending=cut)
    assert loops(f"First, {passage * 2}", passage * 3, passage[:20], ending=cut)


def test_a_short_passage_needs_200_characters() -> None:
    assert not loops("the " * 49, ending=Ending.CAP)
    assert loops("the " * 51, ending=Ending.CAP)


def test_a_grid_of_numbers_is_not_a_loop_before_it_fills_2000_characters() -> None:
    row = "0 0 0 0 0 0 0 0 0 0\n"
    assert not loops(row * 20, ending=Ending.CAP)
    assert not loops(*[row] * 20)
    assert loops(row * 101, ending=Ending.CAP)


def test_pieces_of_steps_are_not_compared_as_steps() -> None:
    assert not loops(*["one, two, three, four, "] * 3, ending=Ending.CAP)


@given(st.lists(LONG_STEPS, unique=True, max_size=20))
def test_different_steps_are_no_loop(steps: list[str]) -> None:
    assert not loops(*(f"{step}\n\n" for step in steps))


@given(LONG_STEPS, st.lists(LONG_STEPS, max_size=5))
def test_a_step_that_repeats_without_end_is_found(step: str, before: list[str]) -> None:
    assert loops(*before, *[f"{step}\n\n"] * 3)
