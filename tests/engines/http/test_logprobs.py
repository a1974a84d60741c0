from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http.fields import Field
from dreamr.engines.http.logprobs import chosen_logprobs, first_entropy, read_logprob, top_words
from dreamr.engines.http.sse import StreamParser

LABELS = (("positive", " positive"), ("negative", " negative"))
UNKNOWN = [None, float("nan"), float("inf"), float("-inf"), 1.0, 0.01, "x", True, [], {}, 10**400]


def field(value: Any) -> Field:
    return Field(value, "http://here")


def masses(*tops: tuple[Any, Any]) -> list[float]:
    content = [{"token": tops[0][0], "logprob": tops[0][1]}]
    content[0]["top_logprobs"] = [{"token": token, "logprob": value} for token, value in tops]
    return top_words(field({"content": content})).masses(LABELS, worst=1)


@pytest.mark.parametrize("value", UNKNOWN)
def test_only_finite_values_of_at_most_0_are_log_probabilities(value: Any) -> None:
    assert read_logprob(field(value)) is None
    assert read_logprob(field(-9999)) == -9999.0
    assert read_logprob(field(-0.5)) == -0.5


def test_rounding_above_0_counts_as_0() -> None:
    assert read_logprob(field(1e-6)) == 0.0


@pytest.mark.parametrize("value", UNKNOWN)
def test_an_unknown_value_never_speaks_for_a_step(value: Any) -> None:
    assert masses(("positive", value), ("negative", math.log(0.1))) == pytest.approx([0.0, 1.0])
    assert masses(("positive", math.log(0.3)), ("negative", value)) == pytest.approx([0.3, 0.7])
    assert masses(("positive", math.log(0.3)), ("else", value)) == pytest.approx([0.3, 0.0])


@given(st.lists(st.tuples(st.sampled_from(["positive", "negative", "a", "pos"]), st.floats())))
def test_masses_are_probabilities(tops: list[tuple[str, float]]) -> None:
    for mass in masses(("a", -1.0), *tops):
        assert 0.0 <= mass <= 1.0


@pytest.mark.parametrize(
    "token", ["positive", " positive", "Ġpositive", "▁positive", "pos", list(b"positive")]
)
def test_tokens_are_read_in_every_usual_form(token: Any) -> None:
    assert masses((token, math.log(0.25)))[0] == pytest.approx(0.25)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"top_logprobs": [{"positive": math.log(0.9), "negative": math.log(0.1)}]},
        [{"token": "positive", "logprob": -1, "top_logprobs": [
            {"token": "positive", "logprob": math.log(0.9)},
            {"token": "negative", "logprob": math.log(0.1)},
        ]}],
    ],
)  # fmt: skip
def test_other_forms_of_log_probabilities_are_read(logprobs: Any) -> None:
    found = top_words(field(logprobs))
    assert found.alternatives
    assert found.masses(LABELS, worst=1) == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, []])
def test_missing_log_probabilities_are_no_words(logprobs: Any) -> None:
    found = top_words(field(logprobs))
    assert not found.known
    assert not found.alternatives
    assert chosen_logprobs(field(logprobs)) == ()


@pytest.mark.parametrize("logprobs", [5, {"content": 5}, {"content": [5]}, {"token_logprobs": {}}])
def test_log_probabilities_of_another_form_are_unknown(logprobs: Any) -> None:
    assert chosen_logprobs(field(logprobs)) == (None,)


def test_a_piece_with_an_unknown_value_has_no_log_probability() -> None:
    def event(text: str, *values: Any) -> Any:
        content = [{"token": "?", "logprob": value} for value in values]
        return {"choices": [{"delta": {"content": text}, "logprobs": {"content": content}}]}

    parser = StreamParser()
    assert parser.push(event("", None)) is None
    chunk = parser.push(event("a", -0.5))
    assert chunk is not None
    assert (chunk.logprob, chunk.min_logprob) == (None, None)
    assert parser.unknown
    chunk = parser.push(event("b", -0.5))
    assert chunk is not None
    assert chunk.logprob == -0.5


@pytest.mark.parametrize("tops", [[], [("positive", 0.0)], [("positive", 0.0), ("negative", 0)]])
def test_a_token_reported_as_certain_is_unknown(tops: list[tuple[str, float]]) -> None:
    """llama.cpp reports 0 for each token that speculative decoding guessed."""
    listed = [{"token": text, "logprob": value} for text, value in tops]
    content = [{"token": "positive", "logprob": 0.0, "top_logprobs": listed}]
    words = top_words(Field({"content": content}, "http://x"))
    assert words.certain
    assert not words.known
    assert not words.alternatives


def test_chosen_tokens_without_alternatives_and_doubt_are_unknown() -> None:
    def token(value: float, *tops: float) -> dict[str, object]:
        return {"token": "a", "logprob": value, "top_logprobs": [{"logprob": top} for top in tops]}

    found = chosen_logprobs(Field([token(0.0), token(0.0, 0.0), token(-0.5)], "http://x"))
    assert found == (None, 0.0, -0.5)
    assert chosen_logprobs(Field([{"token": "a", "logprob": 0.0}], "http://x")) == (0.0,)


def tops(*shares: float) -> Any:
    listed = [{"token": str(n), "logprob": math.log(share)} for n, share in enumerate(shares)]
    return {"content": [{"token": "0", "logprob": listed[0]["logprob"], "top_logprobs": listed}]}


@pytest.mark.parametrize(
    ("shares", "entropy"),
    [
        ((0.5, 0.5), math.log(2)),
        ((0.5, 0.25), 1.5 * math.log(2)),  # the rest counts as one token
        ((0.25,) * 4, math.log(4)),
    ],
)
def test_the_entropy_is_that_of_the_listed_tokens(shares: Any, entropy: float) -> None:
    assert first_entropy(field(tops(*shares))) == pytest.approx(entropy)


@pytest.mark.parametrize("logprobs", [None, {}, tops(0.9), {"content": "x"}])
def test_without_alternatives_the_entropy_is_unknown(logprobs: Any) -> None:
    assert first_entropy(field(logprobs)) is None


def test_chunks_carry_the_entropy_of_their_first_token_on_request() -> None:
    def event(text: str, *shares: float) -> Any:
        return {"choices": [{"delta": {"content": text}, "logprobs": tops(*shares)}]}

    parser = StreamParser(entropies=True)
    assert parser.push(event("", 0.5, 0.5)) is None  # the first half of a character
    chunk = parser.push(event("é", 0.9, 0.1))
    assert chunk is not None
    assert chunk.entropy == pytest.approx(math.log(2))
    plain = StreamParser().push(event("é", 0.5, 0.5))
    assert plain is not None
    assert plain.entropy is None
