"""Tokens of a prompt, and the steps that they spell."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http.fields import Field
from dreamr.engines.http.given_tokens import (
    GivenToken,
    margins,
    read_given,
    share_out,
    text_before,
)


def token(text: str) -> GivenToken:
    return GivenToken(text, -0.1, -3.0)


def texts(found: list[list[GivenToken]] | None) -> list[list[str]] | None:
    return None if found is None else [[one.text for one in step] for step in found]


@given(st.lists(st.text("ab c\né", min_size=1, max_size=5), min_size=1, max_size=12), st.data())
def test_the_tokens_of_a_text_are_shared_out_among_its_steps(
    pieces: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(pieces) - 1))
    steps = ["".join(pieces[cut : cut + 1]), "".join(pieces[cut + 1 :])]
    steps = [step for step in steps if step.strip()]
    if not steps:
        return
    ending = pieces[cut : cut + 1] * bool(pieces[cut].strip()) + pieces[cut + 1 :]
    found = texts(share_out([token("<user>"), *map(token, ending)], steps))
    assert found is not None
    spelled = ["".join(step) for step in found]
    assert "".join(spelled).split() == "".join(steps).split()


@pytest.mark.parametrize(
    ("tokens", "shares"),
    [
        (["x", "One", ".\n\n", "Two", ".\n\n"], [["One", ".\n\n"], ["Two", ".\n\n"]]),
        (["x", "One", ".\n\n", "Two", "."], [["One", ".\n\n"], ["Two", "."]]),  # trimmed
        (["x", "xOne", ".\n\nTwo", ".\n\n"], [["xOne"], [".\n\nTwo", ".\n\n"]]),  # across steps
        (["x", "One", ".", "Two", "."], [["One", "."], ["Two", "."]]),  # without white space
        (["x", "One", ".\n\n", "Too", "."], None),
        (["Two", ".\n\n"], None),
    ],
)
def test_servers_decode_tokens_in_several_ways(tokens: list[str], shares: Any) -> None:
    assert texts(share_out([*map(token, tokens)], ["One.\n\n", "Two.\n\n"])) == shares


def test_characters_of_several_tokens_are_stepped_over() -> None:
    found = share_out([token("x"), token("caf"), token("\ufffd"), token("\ufffd")], ["café"])
    assert texts(found) == [["caf", "\ufffd", "\ufffd"]]


def test_a_token_without_probabilities_makes_the_steps_unknown() -> None:
    assert share_out([None, token(".")], ["One."]) is None
    assert texts(share_out([None, token("One.")], ["One."])) == [["One."]]


@pytest.mark.parametrize("inside", [True, False])
def test_the_given_token_is_found_by_its_id(inside: bool) -> None:
    """In chat completions the fields are beside the choices, in text completions inside."""
    fields = {
        "prompt_token_ids": [1, 7],
        "prompt_logprobs": [
            None,
            {
                "3": {"logprob": -0.2, "decoded_token": "best"},
                "7": {"logprob": -2.0, "decoded_token": "given"},
            },
        ],
    }
    answer = {"choices": [fields]} if inside else {"choices": [{}], **fields}
    assert read_given(Field(answer, "http://here")) == [None, GivenToken("given", -2.0, -0.2)]


@pytest.mark.parametrize("missing", [None, "x", float("nan")])
def test_values_that_are_not_log_probabilities_are_unknown(missing: Any) -> None:
    entry = {"7": {"logprob": missing, "decoded_token": "a"}, "8": {"logprob": -1.0}}
    answer = {"prompt_token_ids": [7], "prompt_logprobs": [entry]}
    assert read_given(Field(answer, "http://here")) == [None]
    assert read_given(Field({"choices": None}, "http://here")) == []


def test_a_step_has_no_margins_unless_another_token_is_known_at_each_place() -> None:
    entry = {"7": {"logprob": -0.1, "decoded_token": "a", "rank": 1}}
    answer = {"prompt_token_ids": [7], "prompt_logprobs": [entry]}
    assert read_given(Field(answer, "http://here")) == [GivenToken("a", -0.1, None, 1)]
    found = margins([token("One"), GivenToken(".", -0.1)])
    assert (found.mean_margin, found.min_margin, found.tokens) == (None, None, 0)


def test_margins_stay_finite_for_impossible_tokens() -> None:
    found = margins([GivenToken("a", -9999.0, -0.0), GivenToken("b", -0.0, -9999.0)])
    assert (found.min_margin, found.mean_margin, found.surest_mismatch) == (0.0, 0.0, 1.0)
    assert found.logprob is not None
    assert math.isfinite(found.logprob)
    assert margins([]).tokens == 0


@pytest.mark.parametrize(
    ("tokens", "before"),
    [
        ((" x",), "caf\u00e9"),
        (("\ufffd", " x"), None),
        (("\ufffd", "\ufffd", " x"), None),
    ],
)
def test_the_text_before_a_part_of_a_character_is_not_known(
    tokens: tuple[str, ...], before: str | None
) -> None:
    given = [GivenToken(token, -1.0, None, 2) for token in tokens]
    assert text_before("caf\u00e9 x", given) == before
