"""Short steps, such as headings, are joined with the step that follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.steps import Ending, Step, StepFormat, StepSplitter
from dreamr.steps.step_format import length

UNCAPPED = StepFormat(min_tokens=8, max_tokens=10**9, max_answer_tokens=10**9)
LONG = "The square has four equal sides of two meters each.\n\n"
PIECES = ["Plan:", "\n\n", "\n", LONG, "a", "Answer: 4", "Ans", "<think>", "</think>", "x, y. "]


def cut(*chunks: str, step_format: StepFormat = UNCAPPED, truncated: bool = False) -> list[Step]:
    splitter = StepSplitter(step_format)
    steps = [step for chunk in chunks for step in splitter.push(chunk, 1, -1.0, -1.0)]
    tail = splitter.finish(truncated=truncated)
    return steps + ([tail] if tail else [])


def texts(*chunks: str) -> list[str]:
    return [step.text for step in cut(*chunks)]


def test_a_heading_joins_the_paragraph_that_follows() -> None:
    assert texts("Thinking Process:\n\n", LONG, LONG) == ["Thinking Process:\n\n" + LONG, LONG]


def test_several_short_steps_are_joined_until_they_are_long_enough() -> None:
    assert texts("One.\n\nTwo.\n\nThree.\n\nFour.\n\nFive.\n\n") == [
        "One.\n\nTwo.\n\nThree.\n\nFour.\n\n",
        "Five.\n\n",
    ]


def test_a_joined_step_has_the_tokens_and_log_probabilities_of_its_parts() -> None:
    (step,) = cut("Plan:\n\n", LONG)
    assert (step.tokens, step.logprob, step.min_logprob) == (2, -2.0, -1.0)


def test_a_short_step_stays_alone_before_the_answer_and_does_not_wait_for_its_end() -> None:
    splitter = StepSplitter(UNCAPPED)
    assert splitter.push("So:\n\n", 2) == []
    (step,) = splitter.push("Answer: 4", 3)
    assert (step.text, step.tokens) == ("So:\n\n", 2)
    tail = splitter.finish()
    assert tail is not None
    assert tail.is_answer


def test_the_end_of_a_thought_ends_a_short_step() -> None:
    steps = cut(
        "<think>\n\nShort.</think>", "\n\n" + LONG, step_format=replace(UNCAPPED, min_tokens=11)
    )
    assert [step.text for step in steps] == ["<think>\n\nShort.</think>", "\n\n" + LONG]


def test_a_short_step_at_the_end_of_the_stream_is_a_step() -> None:
    assert [(s.text, s.ending) for s in cut("Done.\n\n")] == [("Done.\n\n", Ending.DELIMITER)]
    (step,) = cut("Done.\n\n", "a", truncated=True)
    assert (step.text, step.ending) == ("Done.\n\na", Ending.CAP)


def test_a_held_step_is_pending() -> None:
    splitter = StepSplitter(UNCAPPED)
    splitter.push("So:\n\nA", 3)
    assert (splitter.pending, splitter.pending_tokens) == ("So:\n\nA", 3)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("## Step 1:", 4), ("Thinking Process:\n\n", 3), ("面积是多少", 5), ("1,234 x_1", 8)],
)
def test_the_length_of_a_text_is_about_its_tokens(text: str, tokens: int) -> None:
    assert length(text) == tokens


@given(st.lists(st.sampled_from(PIECES)), st.integers(1, 12), st.booleans())
def test_steps_do_not_depend_on_chunks(pieces: list[str], least: int, opened: bool) -> None:
    step_format = replace(UNCAPPED, min_tokens=least, opens_thought=opened)
    text = "".join(pieces)
    expected = [(step.text, step.ending) for step in cut(text, step_format=step_format)]
    for chunks in (pieces, list(text)):
        steps = cut(*chunks, step_format=step_format)
        assert [(step.text, step.ending) for step in steps] == expected


@given(st.lists(st.sampled_from(PIECES)), st.integers(2, 12), st.booleans())
def test_joining_only_removes_ends_of_steps(pieces: list[str], least: int, truncated: bool) -> None:
    """Every step ends where a step without joining does; no answer begins inside a step."""
    joined = cut(*pieces, step_format=replace(UNCAPPED, min_tokens=least), truncated=truncated)
    parts = cut(*pieces, step_format=replace(UNCAPPED, min_tokens=1), truncated=truncated)
    ends = [sum(len(step.text) for step in parts[: n + 1]) for n in range(len(parts))]
    assert {sum(len(s.text) for s in joined[: n + 1]) for n in range(len(joined))} <= set(ends)
    assert sum(step.tokens for step in joined) == sum(step.tokens for step in parts)
    assert [s for s in joined if s.is_answer] == [s for s in parts if s.is_answer]
