"""Responses of the own endpoints of llama.cpp and SGLang, also damaged ones."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http.completions import Completion
from dreamr.engines.http.finish_reasons import read_finish
from dreamr.engines.http.logprobs import chosen_logprobs, top_words
from dreamr.engines.http.native import SglangReader, read_llama
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError

URL = "http://here"
_NAMES = [
    "content", "stop", "stop_type", "timings", "cache_n", "completion_probabilities", "text",
    "meta_info", "output_ids", "completion_tokens", "prompt_tokens", "output_token_logprobs",
    "output_top_logprobs", "output_token_ids_logprobs", "finish_reason", "top_logprobs", "token",
]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=20,
)
_ANSWERS = st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=6)


def check(read: Any, value: object) -> None:
    """Read a response and all that is asked of it."""
    with suppress(EngineError, TransientError):
        found = read(value, URL)
        assert isinstance(found, Completion)
        chosen_logprobs(found.logprobs)
        top_words(found.logprobs)
        read_finish(found.reason)


@given(_JSON | _ANSWERS)
def test_a_damaged_response_is_an_error_of_the_engine(value: object) -> None:
    check(read_llama, value)
    check(SglangReader(), value)


@given(st.lists(_ANSWERS, max_size=3))
def test_damaged_events_are_errors_of_the_engine(values: list[object]) -> None:
    reader = SglangReader()
    for value in values:
        check(reader, value)


def generation(text: str | None, tokens: int, **meta: object) -> dict[str, object]:
    info = {"completion_tokens": tokens, "prompt_tokens": 5, "finish_reason": None, **meta}
    return {"text": text, "output_ids": list(range(tokens)), "meta_info": info}


def test_events_of_sglang_that_repeat_the_text_add_the_rest() -> None:
    reader = SglangReader()
    events = [generation(text, n) for n, text in enumerate([None, "So", "So it", "So it"])]
    assert [reader(event, URL).text for event in events] == ["", "So", " it", ""]


def test_a_text_of_sglang_that_is_repeated_with_less_adds_nothing() -> None:
    reader = SglangReader()
    events = [generation(text, n) for n, text in enumerate(["So it", "So", "So it is"])]
    assert [reader(event, URL).text for event in events] == ["So it", "", " is"]


def test_a_text_of_sglang_that_is_repeated_with_changes_is_an_error() -> None:
    reader = SglangReader()
    reader(generation("So it", 2), URL)
    with pytest.raises(EngineError, match="repeated its text with changes"):
        reader(generation("So is it", 3), URL)


def test_an_aborted_request_of_sglang_is_sent_again() -> None:
    reason = {"type": "abort", "message": "out of memory", "status_code": 503}
    found = SglangReader()(generation("So", 1, finish_reason=reason), URL)
    with pytest.raises(TransientError, match="ended the response early: abort"):
        read_finish(found.reason)


@pytest.mark.parametrize(
    ("stop_type", "finish"), [("eos", "stop"), ("word", "stop"), ("limit", "length"), (7, "stop")]
)
def test_llama_cpp_names_the_end(stop_type: object, finish: str) -> None:
    found = read_llama({"content": "", "stop": True, "stop_type": stop_type}, URL)
    assert read_finish(found.reason) == finish
    assert read_llama({"content": None, "stop": False}, URL).text == ""


def test_more_cached_tokens_than_the_prompt_has_do_not_count() -> None:
    answers = [
        read_llama({"tokens_evaluated": 9, "timings": {"cache_n": 10}}, URL),
        SglangReader()(generation("", 0, cached_tokens=6), URL),
        Completion.read(
            {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10}}}, URL
        ),
    ]
    assert all(one.usage.cached is None and one.usage.impossible for one in answers)
    assert read_llama({"tokens_evaluated": 9, "timings": {"cache_n": 9}}, URL).usage.cached == 9
