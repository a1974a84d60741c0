from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr.serving.gateway.apis.chat.request import read_request
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def read(body: Any, limits: ServeOptions | None = None, **options: Any) -> ParsedRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sender = Sender("alice", lambda model: RunOptions(**options), limits or ServeOptions())
    return read_request(raw, sender)


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "dreamr", "messages": [{"role": "user", "content": "Well?"}], **more}


def refused(body: Any, limits: ServeOptions | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, limits)
    return caught.value


def test_a_plain_prompt_gets_the_options_of_the_server() -> None:
    found = read(asked(), window=3)
    assert found.turns == (ParsedMessage("user", ("Well?",)),)
    assert found.options == RunOptions(window=3)
    assert (found.stream, found.include_usage, found.events, found.ignored) == (
        False, False, False, (),
    )  # fmt: skip


def test_parts_are_read_in_order() -> None:
    content = [IMAGE, {"type": "text", "text": "Which?"}, {"type": "image_url", "image_url": "x"}]
    [turn] = read(asked(messages=[{"role": "user", "content": content}])).turns
    assert turn.parts == (
        SentMedia("image", "messages.0.content.0", url="data:image/png;base64,AAAA"),
        "Which?",
        SentMedia("image", "messages.0.content.2", url="x"),
    )


def test_fields_of_a_request_become_options() -> None:
    found = read(
        asked(
            temperature=0.5, top_p=0.9, seed=-1, max_tokens=7, max_completion_tokens=9,
            stop="\n", stream=True, stream_options={"include_usage": True},
            dreamr={"method": "sequential", "window": 2, "threshold": 0.9, "deadline": 3},
        )
    )  # fmt: skip
    assert found.options == RunOptions(
        method="sequential", window=2, threshold=0.9, temperature=0.5, top_p=0.9, max_tokens=9,
        seed=2**63 - 1,
    )  # fmt: skip
    assert found.stop == ("\n",)
    assert found.stream
    assert found.include_usage
    assert found.deadline == 3


def test_without_a_seed_each_sampled_request_has_another_seed() -> None:
    assert read(asked(temperature=1)).options.seed != read(asked(temperature=1)).options.seed
    assert read(asked(temperature=0)).options.seed == RunOptions().seed


def test_a_deadline_is_at_most_that_of_the_gateway() -> None:
    assert read(asked(dreamr={"deadline": 1e9}), ServeOptions(deadline=5)).deadline == 5


def test_fields_of_other_servers_are_accepted_and_reported() -> None:
    found = read(
        asked(
            user="me", metadata={}, store=False, n=1, logprobs=False, tools=[], tool_choice="auto",
            response_format={"type": "text"}, logit_bias=None, frequency_penalty=0,
            top_k=20, chat_template_kwargs={"enable_thinking": True, "x": 1}, temprature=3,
        )
    )  # fmt: skip
    assert " ".join(found.ignored) == ("chat_template_kwargs.x temprature")


def test_sampling_fields_of_vllm_become_options() -> None:
    found = read(
        asked(
            top_k=-1, min_p=0.1, presence_penalty=1.5, frequency_penalty=0.5,
            repetition_penalty=1.1, logit_bias={"7": -100},
        )
    ).options  # fmt: skip
    assert (found.top_k, found.min_p, found.presence_penalty) == (0, 0.1, 1.5)
    assert (found.frequency_penalty, found.repetition_penalty) == (0.5, 1.1)
    assert found.logit_bias == ("7=-100",)


@pytest.mark.parametrize(
    "biases", [{"x": 1}, {"7": 200}, {"7": "1"}, {str(n): 1 for n in range(2000)}]
)
def test_biases_that_cannot_be_read_are_refused(biases: dict[str, float]) -> None:
    with pytest.raises(ApiError, match=r"logit[-_]bias"):
        read(asked(logit_bias=biases))


def test_requests_that_the_vendors_sampling_may_apply_to_have_seeds_of_their_own() -> None:
    served = {"target": "http://a:1/v1", "draft": "http://b:1/v1"}
    first, second = (read(asked(), **served).options for _ in range(2))
    assert first.temperature is None
    assert first.seed != second.seed


FORMS = (
    "structural_tag", "guided_json", "guided_regex",
    "guided_choice", "guided_grammar", "grammar", "json_schema", "regex", "ebnf", "format",
)  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        {"type": "object"},
        "json",
        ["yes", "no"],
        {"choice": ["a"]},
        True,
        1,
        {"type": None, "x": {}},
    ],
)
def test_a_form_of_the_answer_is_refused_in_the_words_of_any_server(name: str, value: Any) -> None:
    for body, param in (
        ({name: value}, name),
        ({"extra_body": {name: value}}, f"extra_body.{name}"),
        ({"nvext": {name: value}}, f"nvext.{name}"),
    ):
        error = refused(asked(**body))
        assert (error.status, error.param, error.code) == (400, param, "unsupported_parameter")
        assert "is not supported here: leave it out" in error.message


@pytest.mark.parametrize("name", ["response_format", "structured_outputs"])
def test_a_format_is_not_read_in_objects_for_other_servers(name: str) -> None:
    error = refused(asked(extra_body={name: {"type": "json_object"}}))
    assert (error.param, error.code) == (f"extra_body.{name}", "unsupported_parameter")


@pytest.mark.parametrize("name", [*FORMS, "response_format", "structured_outputs"])
@pytest.mark.parametrize("value", [None, "", [], {}, "text", {"type": "text"}, {"json": None}])
def test_no_form_and_plain_text_are_accepted(name: str, value: Any) -> None:
    assert name not in read(asked(**{name: value})).ignored
    read(asked(extra_body={name: value, "top_k": 3}))


def test_messages_without_content_are_left_out() -> None:
    messages = [
        {"role": "developer", "content": "Brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Two?"},
    ]
    assert [turn.role for turn in read(asked(messages=messages)).turns] == [
        "system", "user", "user",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [{"role": "friend", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]},
            "messages.0.content.0.text",
        ),
        ({"n": 0}, "n"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"top_p": -1}, "top_p"),
        ({"seed": "x"}, "seed"),
        ({"stop": ["x"] * 99}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"dreamr": {"windw": 3}}, "dreamr.windw"),
        ({"dreamr": {"method": "magic"}}, "dreamr"),
        ({"dreamr": {"window": 0}}, "dreamr"),
        ({"dreamr": {"deadline": 0}}, "dreamr.deadline"),
    ],
)
def test_an_invalid_field_is_refused_by_name(change: dict[str, Any], param: str) -> None:
    error = refused(asked(**change))
    assert error.status == 400
    assert error.param == param
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": []}, "messages must not be empty"),
        ({"temperature": 3}, "temperature must be at most 2"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"echo": True}, "echo = true is not supported here: leave it out"),
        ({"stop": 3}, "stop must be a string"),
        ({"dreamr": {"windw": 3}}, "dreamr.windw is not a known field"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 3}]}]},
            "messages.0.content.0.image_url must be an object",
        ),
    ],
)
def test_an_error_is_in_the_terms_of_the_request(change: dict[str, Any], message: str) -> None:
    assert refused(asked(**change)).message == message


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"model": NaN}', b'"' + b"[" * 100_000,
        b"[" * 100_000, b'{"model":"dreamr","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"dreamr","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"dreamr","temperature":1e999,"messages":[{"role":"user","content":"x"}]}',
    ],
)  # fmt: skip
def test_invalid_bytes_are_refused(raw: bytes) -> None:
    assert refused(raw).status == 400


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (
            [{"role": "user", "content": [{"type": "text", "text": "x"}] * 600}],
            "the request has too many messages and parts: send fewer, or raise --max-parts of the "
            "gateway",
        ),
        (
            [{"role": "user", "content": "x"}] * 600,
            "the request has too many messages and parts: send fewer, or raise --max-parts of the "
            "gateway",
        ),
        (
            [{"role": "user", "content": [IMAGE] * 17}],
            "the request has more than 16 images and other files: send fewer, or raise "
            "--max-images of the gateway",
        ),
    ],
)
def test_a_limit_on_a_request_is_named_with_its_option(
    messages: list[dict[str, Any]], message: str
) -> None:
    assert refused(asked(messages=messages)).message == message


def test_a_text_above_the_limit_is_a_context_that_is_too_long() -> None:
    long = [{"role": "user", "content": "x" * 11}]
    error = refused(asked(messages=long), ServeOptions(max_text=10))
    assert error.code == "context_length_exceeded"
    assert error.message.endswith("send less, or raise --max-text of the gateway")


NAMES = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "stop", "seed", "n", "dreamr", "temperature"]
)


@given(st.dictionaries(FIELDS, JSON))
def test_any_json_is_read_or_refused_and_nothing_else(change: dict[str, Any]) -> None:
    raw = json.dumps({**asked(), **change}).encode()
    try:
        status = 200 if read(raw) else 0
    except ApiError as error:
        status = error.status
    assert status in (200, 400, 404)


def test_an_option_out_of_bounds_is_named_as_the_request_names_it() -> None:
    assert refused(asked(dreamr={"threshold": 2.0})).message == "threshold must be at most 1, not 2"


def test_a_request_may_set_the_thinking_budget() -> None:
    assert read(asked(dreamr={"thinking_budget": 9})).options.thinking_budget == 9
    error = refused(asked(max_tokens=9, dreamr={"thinking_budget": 9}))
    assert "thinking-budget must be smaller than --max-tokens" in error.message


@pytest.mark.parametrize(("most", "budget"), [(101, 100), (100, 50), (7, 3), (1, None)])
def test_the_servers_thinking_budget_leaves_room_for_the_answer(
    most: int, budget: int | None
) -> None:
    found = read(asked(max_tokens=most), thinking_budget=100)
    assert found.options.thinking_budget == budget
