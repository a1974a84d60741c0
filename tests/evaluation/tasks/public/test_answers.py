"""Rules for letters and stated answers."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dreamr.evaluation.tasks.public.answers import boxed, letter, stated

ANIMALS = {"A": "a dog", "B": "a cat", "C": "a cow", "D": "a wildcat"}
texts = st.lists(st.text(string.ascii_lowercase, min_size=2), min_size=2, max_size=6, unique=True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("One.\n\nAnswer: 23", "23"),
        ("Answer: 1\n\nanswer: **red**\nmore", "red"),
        ("**Answer:** $\\boxed{\\frac{1}{2}}$", "\\frac{1}{2}"),
        ("So it is \\boxed{1}, or \\boxed{x^{2}}", "x^{2}"),
        ("just 23. ", "just 23"),
        ("Answer:", ""),
    ],
)
def test_the_last_marker_takes_precedence_over_a_box_and_a_box_over_the_text(
    text: str, answer: str
) -> None:
    assert stated(text) == answer


@given(st.text())
def test_any_text_states_something(text: str) -> None:
    assert isinstance(stated(text), str)
    assert letter(text, ANIMALS) in {*ANIMALS, None}


def test_an_unclosed_box_is_ignored() -> None:
    assert boxed("\\boxed{1") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(B)", "B"),
        ("Answer: **B**", "B"),
        ("Answer: B. a cat", "B"),
        ("A dog? No.\n\nAnswer: the right choice is (C)", "C"),
        ("Answer: a cat", "B"),
        ("Answer: A wildcat.", "D"),
        ("It is B, I think", "B"),
        ("It must be a cow by its horns", "C"),
        ("I see option D here", "D"),
        ("The answer is A because it barks", "A"),
        ("A dog or so, I think", "A"),
        ("A horse, I think", None),
        ("A or B", None),
        ("Answer: E", None),
        ("a horse", None),
        ("", None),
    ],
)
def test_letters_are_found_in_the_ways_that_models_write_them(
    text: str, expected: str | None
) -> None:
    assert letter(text, ANIMALS) == expected


def test_the_last_of_several_letters_counts_if_the_benchmark_says_so() -> None:
    text = "(A) is too small, so it has to be (C)"
    assert letter(text, ANIMALS) is None
    assert letter(text, ANIMALS, last=True) == "C"


@given(texts, st.data())
def test_a_letter_after_the_marker_is_always_found(words: list[str], data: st.DataObject) -> None:
    choices = dict(zip(string.ascii_uppercase, words, strict=False))
    name = data.draw(st.sampled_from(sorted(choices)))
    before = data.draw(st.text())
    assume("answer" not in before.lower())
    for shape in ("{}", "({})", "{}.", "**{}**", "$\\boxed{{{}}}$"):
        assert letter(f"{before}\n\nAnswer: {shape.format(name)}", choices) == name


@given(texts, st.data())
def test_the_text_of_a_choice_counts_like_its_letter(words: list[str], data: st.DataObject) -> None:
    choices = dict(zip(string.ascii_uppercase, words, strict=False))
    name = data.draw(st.sampled_from(sorted(choices)))
    assert letter(f"Answer: {choices[name].upper()}.", choices) == name
