from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http.completions import Completion, Usage
from dreamr.engines.http.failures import refuse_errors
from dreamr.engines.http.fields import Field, parse_json, whole_characters
from dreamr.engines.http.logprobs import chosen_logprobs, top_words
from dreamr.engines.http.models import read_models
from dreamr.engines.http.retries import TransientError
from dreamr.engines.http.sse import StreamParser
from dreamr.errors import DreamrError, EngineError

URL = "http://here/v1"
JUNK = [None, True, False, 0, -1, 2.5, 10**400, float("nan"), "", "x", [], [[]], {}, {"a": {}}]
NAMES = (
    "choices", "delta", "message", "content", "text", "type", "reasoning", "thinking", "usage",
    "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "logprobs",
    "logprob", "token", "top_logprobs", "token_logprobs", "finish_reason", "error", "code",
    "detail", "data", "id", "meta", "n_ctx", "reasoning_details", "object",
)  # fmt: skip


def read(choice: Any, **more: Any) -> Completion:
    return Completion.read({"choices": [choice], **more}, URL)


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"content": "ab"}},
        {"delta": {"role": "assistant", "content": [{"type": "text", "text": "ab"}]}},
        {"delta": {"content": [{"text": "a"}, "b"]}},
        {"delta": {"content": {"type": "output_text", "text": "ab"}}},
        {"message": {"role": "assistant", "content": "ab"}},
        {"delta": None, "message": {"content": "ab"}},
        {"text": "ab"},
        {"delta": {"content": "ab", "reasoning": None}, "message": None},
    ],
)
def test_text_is_read_in_every_usual_form(choice: Any) -> None:
    found = read(choice)
    assert (found.text, found.thought) == ("ab", "")
    assert found.whole == ("message" in choice and choice["message"] is not None)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "ab"},
        {"content": None, "reasoning_content": "ab"},
        {"content": "", "reasoning": "ab", "reasoning_content": "ab"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]}]},
        {"reasoning": {"text": "ab"}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "ab"}]},
    ],
)
def test_reasoning_is_read_in_every_usual_form(delta: Any) -> None:
    found = read({"delta": delta})
    assert (found.text, found.thought) == ("", "ab")


@pytest.mark.parametrize("choices", [None, [], [None], [{}], [{"delta": None}], [{"delta": {}}]])
def test_events_without_text_are_empty(choices: Any) -> None:
    found = Completion.read({"id": "c1", "choices": choices, "error": None}, URL)
    assert (found.text, found.thought, found.usage) == ("", "", Usage())


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ([], "its answer"),
        ({"choices": {}}, "choices"),
        ({"choices": ["x"]}, "choices[0]"),
        ({"choices": [{"delta": "x"}]}, "choices[0].delta"),
        ({"choices": [{"delta": {"content": 5}}]}, "choices[0].delta.content"),
        ({"choices": [{"delta": {"content": [5]}}]}, "choices[0].delta.content[0]"),
        ({"choices": [{"delta": {"content": {}}}]}, "choices[0].delta.content"),
        ({"choices": [{"delta": {"content": [None]}}]}, "choices[0].delta.content[0]"),
        ({"choices": [{"delta": {"content": {"type": "text"}}}]}, "choices[0].delta.content"),
        ({"choices": [{"message": {"content": [{"text": []}, {"text": 1}]}}]},
         "choices[0].message.content[1].text"),
        ({"choices": [{"delta": {"reasoning": True}}]}, "choices[0].delta.reasoning"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_names_field_and_server(
    answer: Any, path: str
) -> None:
    with pytest.raises(EngineError, match=re.escape(f"{URL} sent {path} as ")):
        Completion.read(answer, URL)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, "delta"),
        ({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}, "candidates"),
        ({"model": "x", "message": {"role": "assistant", "content": "Hi"}}, "message"),
        ({"choices": [{"index": 0, "chunk": {"content": "Hi"}}]}, "chunk"),
        ({"response": "Hi"}, "response"),
    ],
)
def test_text_in_the_form_of_another_api_is_not_dropped(event: Any, name: str) -> None:
    with pytest.raises(EngineError, match=f"{URL} sent text in the field {name}"):
        Completion.read(event, URL)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ([], Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": "3", "completion_tokens": 4.0}, Usage(3, 4)),
        ({"prompt_tokens": -3, "completion_tokens": 4.5}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": 10**400}, Usage()),
        ({"prompt_tokens": float("inf"), "completion_tokens": "many"}, Usage()),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, None, 2)),
        ({"prompt_tokens_details": {"cached_tokens": 2}}, Usage()),
        ({"prompt_tokens": 3, "prompt_tokens_details": []}, Usage(3)),
    ],
)
def test_token_counts_that_are_not_counts_are_unknown(usage: Any, expected: Usage) -> None:
    assert read({"delta": {}}, usage=usage).usage == expected


def test_halves_of_a_character_in_two_events_are_joined() -> None:
    parser = StreamParser()
    chunks = [
        parser.push({"choices": [{"delta": {"content": text}}]})
        for text in ("a\ud83c", "\udf75b", "\ud83c", "c\udf75")
    ]
    assert [chunk.text if chunk else None for chunk in chunks] == [
        "a",
        "🍵b",
        None,
        "\ufffdc\ufffd",
    ]
    assert parser.text == "a🍵b\ufffdc\ufffd"
    assert whole_characters("x\ud83c\udf75y\ud83c") == "x🍵y\ufffd"


def test_a_message_after_its_pieces_is_not_repeated() -> None:
    parser = StreamParser()
    parser.push({"choices": [{"delta": {"content": "ab"}}]})
    parser.push({"choices": [{"message": {"content": "abc"}}]})
    assert parser.text == "abc"
    with pytest.raises(EngineError, match="twice, with changes"):
        parser.push({"choices": [{"message": {"content": "abd"}}]})


def test_events_that_repeat_all_text_are_refused() -> None:
    parser = StreamParser()
    parser.push({"choices": [{"message": {"content": "The"}}]})
    with pytest.raises(EngineError, match="repeats all of its text"):
        parser.push({"choices": [{"message": {"content": "The sum"}}]})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}, None]}, ["a", "b"]),
        ([{"id": "a"}, {"id": "a"}], ["a"]),
        ({"models": [{"name": "a"}, {"model": "b"}]}, ["a", "b"]),
        ({"data": ["a", "b"]}, ["a", "b"]),
        ({"data": [{"id": 7}]}, ["7"]),
        ({"data": None}, []),
        ({"data": [{"object": "model"}]}, []),
    ],
)
def test_lists_of_models_are_read_in_every_usual_form(answer: Any, expected: list[str]) -> None:
    assert list(read_models(answer, URL)) == expected


@pytest.mark.parametrize("answer", [5, "x", {"data": {"id": "a"}}, {"data": [5]}, [{"id": []}]])
def test_a_list_of_models_that_cannot_be_read_is_an_error(answer: Any) -> None:
    with pytest.raises(EngineError, match=f"{URL} sent .* as "):
        read_models(answer, URL)


def test_the_context_length_is_optional() -> None:
    entry = {"id": "a", "owned_by": 5, "meta": {"n_ctx": "x", "n_ctx_train": 512}}
    assert read_models([entry], URL)["a"].context == 512
    assert read_models([{"id": "a", "max_model_len": "x", "meta": []}], URL)["a"].context is None


@pytest.mark.parametrize("text", ["", "x", "[" * 100_000, "9" * 5000, b"\xff", '{"a": 1'])
def test_text_that_is_not_json_is_an_error(text: str | bytes) -> None:
    with pytest.raises(EngineError, match="did not return JSON"):
        parse_json(text, URL)


def jsons(names: Any) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.sampled_from(JUNK) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


@given(jsons(st.sampled_from(NAMES)))
def test_no_json_leads_to_another_exception(value: Any) -> None:
    for work in (
        lambda: refuse_errors(value, URL),
        lambda: StreamParser().push(value),
        lambda: StreamParser().push({"choices": [{"delta": value, "logprobs": value}]}),
        lambda: StreamParser().push({"choices": [value], "usage": value}),
        lambda: read_models(value, URL),
        lambda: top_words(Field(value, URL)),
        lambda: chosen_logprobs(Field(value, URL)),
    ):
        try:
            work()
        except (DreamrError, TransientError) as error:
            str(error).encode()  # it can be printed
