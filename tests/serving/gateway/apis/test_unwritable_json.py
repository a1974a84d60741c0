"""Values that can be read from JSON text, and not be written to it: they never fail a response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dreamr.answers import AnswerPiece, CallDelta
from dreamr.serving.gateway.apis.chat import ChatApi
from dreamr.serving.gateway.apis.completions import CompletionsApi
from dreamr.serving.gateway.apis.messages import MessagesApi
from dreamr.serving.gateway.apis.protocol import Api, ServerEvent
from dreamr.serving.gateway.apis.responses import ResponsesApi
from support.gateways import QUESTION, Answer, Json, use
from support.pairs import Pair

MESSAGES = [{"role": "user", "content": QUESTION}]
FUNCTION = {"name": "price", "parameters": {"type": "object"}}
SENT: dict[type[Api], Json] = {
    ChatApi: {"messages": MESSAGES, "tools": [{"type": "function", "function": FUNCTION}]},
    MessagesApi: {
        "messages": MESSAGES,
        "max_tokens": 99,
        "tools": [{"name": "price", "input_schema": {}}],
    },
    ResponsesApi: {"input": QUESTION, "tools": [{"type": "custom", "name": "price"}]},
    CompletionsApi: {"prompt": QUESTION},
}
UNWRITABLE = ['{"x": NaN}', '{"x": 1e999}', '{"x": "\\ud83d"}', '{"input": "\\ud83d"}']
NOT_FINITE = ["NaN", "-Infinity", "1e999", "1" * 400 + ".0"]


def refuse_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def events(found: Answer) -> list[Json]:
    """Return the JSON values of a response, as strict readers get them."""
    text = found.body.decode()
    parts = [line.removeprefix("data: ") for line in text.splitlines() if line[:6] == "data: "]
    values = [part for part in parts or [text] if part != "[DONE]"]
    return [json.loads(value, parse_constant=refuse_constant) for value in values]


def ask(kind: type[Api], more: str = "", pair: Pair | None = None, **fields: Any) -> Answer:
    """Send a request with further members in JSON."""
    body = json.dumps({"model": "dreamr", **SENT[kind], **fields})
    raw = f"{body[:-1]}{more}}}".encode()
    return use(lambda gate: gate.ask(raw, kind.path), pair)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [ChatApi, MessagesApi, ResponsesApi])
@pytest.mark.parametrize("arguments", UNWRITABLE)
def test_arguments_that_cannot_be_written_are_sent_as_text(
    kind: type[Api], arguments: str, stream: bool
) -> None:
    call = AnswerPiece(calls=(CallDelta(0, arguments, "c0", "price"),), tokens=1)
    found = ask(kind, pair=Pair(target={"answers": [call]}), stream=stream)
    assert found.status == 200
    values = events(found)
    assert json.dumps(arguments)[1:-1] in json.dumps(values)
    assert "error" not in {value.get("type") for value in values}
    if kind is MessagesApi and not stream:
        assert values[0]["content"][-1]["input"] == {"arguments": arguments}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", list(SENT))
@pytest.mark.parametrize("number", NOT_FINITE)
def test_numbers_that_are_not_finite_are_refused_by_name(
    kind: type[Api], number: str, stream: bool
) -> None:
    found = ask(kind, f', "extra": {{"list": [0, {{"most": {number}}}]}}', stream=stream)
    assert found.status == 400
    assert "extra.list.1.most must be a finite number" in found.json["error"]["message"]


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ('"tools": [{"type": "web_search", "parameters": {"a": %s}}]', "tools.0.parameters.a"),
        ('"tool_choice": {"type": "function", "name": "price", "a": %s}', "tool_choice.a"),
        ('"reasoning": {"effort": "low", "a": %s}', "reasoning.a"),
        ('"text": {"format": {"type": "text", "schema": {"a": %s}}}', "text.format.schema.a"),
    ],
)
def test_a_response_repeats_no_number_that_is_not_finite(member: str, param: str) -> None:
    found = ask(ResponsesApi, f", {member % '1e999'}")
    assert (found.status, found.json["error"]["param"]) == (400, param)
    answered = Pair(target={"answers": [AnswerPiece("3.70", tokens=1)]})
    assert ask(ResponsesApi, f", {member % '1e99'}", answered).status == 200


def test_a_batch_repeats_no_half_of_a_character() -> None:
    body = {"input_file_id": "f", "endpoint": ChatApi.path, "metadata": {"for": "\ud83d"}}
    raw = json.dumps(body).encode()
    found = use(lambda gate: gate.ask(raw, "/v1/batches"))
    assert found.status == 400
    assert found.json["error"]["message"].startswith("the request body is not valid JSON")


def test_an_event_that_is_not_json_is_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        bytes(ServerEvent({"value": float("inf")}))
