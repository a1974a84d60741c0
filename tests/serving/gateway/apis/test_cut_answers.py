"""Answers that a limit or the deadline has cut, in every API, streamed or not.

Clients must not run a tool whose arguments are cut.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.answers import AnswerPiece, CallDelta
from dreamr.conversation import ToolCall
from dreamr.schedules import RunEnd
from dreamr.serving.gateway.apis.chat import ChatApi
from dreamr.serving.gateway.apis.completions import CompletionsApi
from dreamr.serving.gateway.apis.messages import MessagesApi
from dreamr.serving.gateway.apis.protocol import Api, Identity, Reply, Sender
from dreamr.serving.gateway.apis.responses import ResponsesApi
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from dreamr.trace import AnswerExtended, Event, Result, RunFinished, usage_of
from support.gateways import QUESTION, Json, use
from support.pairs import Pair

PRICE = {"name": "price", "parameters": {"type": "object"}}
MESSAGES = [{"role": "user", "content": QUESTION}]
SENT: dict[type[Api], Json] = {
    ChatApi: {"messages": MESSAGES, "tools": [{"type": "function", "function": PRICE}]},
    MessagesApi: {
        "messages": MESSAGES,
        "max_tokens": 99,
        "tools": [{"name": "price", "input_schema": {"type": "object"}}],
    },
    ResponsesApi: {"input": QUESTION, "tools": [{"type": "function", **PRICE}]},
    CompletionsApi: {},
}
WHOLE, CUT = ToolCall("c0", "price", '{"of": "tea"}'), ToolCall("c1", "price", '{"of": "mi')
REASONS = {
    ChatApi: ("tool_calls", "length"),
    MessagesApi: ("tool_use", "max_tokens"),
    ResponsesApi: ("completed", "incomplete"),
}
EVERY = pytest.mark.parametrize("kind", list(REASONS))


@dataclass(frozen=True)
class Replies:
    """A response to a request, whole and as the events of a stream."""

    whole: Json
    events: list[Json]


def reply(kind: type[Api], **more: Any) -> Reply:
    api = kind()
    sender = Sender("alice", lambda model: RunOptions(), ServeOptions())
    parsed = api.read(json.dumps({"model": "dreamr", **SENT[kind], **more}).encode(), sender)
    return api.reply(parsed, Summary(parsed, lambda result: None), Identity("0" * 32, 0))


def extended(*calls: ToolCall) -> list[Event]:
    pieces = [CallDelta(n, one.arguments, one.id, one.name) for n, one in enumerate(calls)]
    return [AnswerExtended(0.0, calls=(piece,)) for piece in pieces]


def ended(
    kind: type[Api], finish: RunEnd, calls: Sequence[ToolCall], answer: str = "", **more: Any
) -> Replies:
    result = Result(answer, (), usage_of(()), 1.0, finish, calls=tuple(calls))
    streamed = reply(kind, stream=True, **more)
    events = list(streamed.opening())
    for event in (*extended(*calls), RunFinished(1.0, result)):
        events += streamed.events(event)
    events += streamed.closing(result, 1)
    return Replies(reply(kind, **more).whole(result, 1), [event.data for event in events])


def reason(kind: type[Api], body: Json) -> Any:
    """Return why a response ended."""
    if kind is ChatApi:
        return body["choices"][0]["finish_reason"]
    return body["status" if kind is ResponsesApi else "stop_reason"]


def reasons(kind: type[Api], found: Replies) -> tuple[Any, Any]:
    """Return why the whole response ended, and why the stream did."""
    if kind is MessagesApi:
        (last,) = (one["delta"] for one in found.events if one["type"] == "message_delta")
    else:
        last = found.events[-1].get("response", found.events[-1])
    return reason(kind, found.whole), reason(kind, last)


@EVERY
def test_calls_are_to_be_run_if_the_answer_is_complete(kind: type[Api]) -> None:
    called, _ = REASONS[kind]
    assert reasons(kind, ended(kind, "answer", [WHOLE])) == (called, called)


@EVERY
@pytest.mark.parametrize("finish", ["length", "deadline"])
@pytest.mark.parametrize("calls", [[CUT], [WHOLE, CUT]])
def test_calls_are_not_to_be_run_if_the_answer_is_cut(
    kind: type[Api], finish: RunEnd, calls: Sequence[ToolCall]
) -> None:
    _, cut = REASONS[kind]
    assert reasons(kind, ended(kind, finish, calls)) == (cut, cut)


@EVERY
@pytest.mark.parametrize("finish", ["answer", "length", "deadline"])
@pytest.mark.parametrize("calls", [[], [CUT]])
def test_a_stop_sequence_counts_before_the_limit(
    kind: type[Api], finish: RunEnd, calls: Sequence[ToolCall]
) -> None:
    name = "stop_sequences" if kind is MessagesApi else "stop"
    found = ended(kind, finish, calls, "one; two", **{name: [";"]})
    stopped = {ChatApi: "stop", MessagesApi: "stop_sequence", ResponsesApi: "completed"}[kind]
    assert reasons(kind, found) == (stopped, stopped)
    if kind is ResponsesApi:
        assert found.whole["incomplete_details"] is None
    (shown,) = (
        found.whole[name] for name in ("choices", "content", "output") if name in found.whole
    )
    assert "one" in str(shown)
    assert CUT.id not in str(shown)


def test_a_stop_sequence_ends_a_completion_before_its_limit() -> None:
    asked = {"prompt": QUESTION, "stop": [";"]}
    result = Result("one; two", (), usage_of(()), 1.0, "length")
    (choice,) = reply(CompletionsApi, **asked).whole(result, 1)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("one", "stop")
    *_, last = reply(CompletionsApi, **asked, stream=True).events(RunFinished(1.0, result))
    assert last.data["choices"][0]["finish_reason"] == "stop"


def test_the_last_item_of_a_response_that_is_cut_is_incomplete() -> None:
    found = ended(ResponsesApi, "length", [WHOLE, CUT])
    outputs = found.whole["output"], found.events[-1]["response"]["output"]
    done = [one["item"] for one in found.events if one["type"] == "response.output_item.done"]
    for items in (*outputs, done):
        assert [item["arguments"] for item in items] == [WHOLE.arguments, CUT.arguments]
        assert [item["status"] for item in items] == ["completed", "incomplete"]
    text = ended(ResponsesApi, "deadline", [], "3.")
    for body in (text.whole, text.events[-1]["response"]):
        (message,) = body["output"]
        assert (message["status"], message["content"][0]["text"]) == ("incomplete", "3.")


def test_the_item_at_which_a_response_fails_is_incomplete() -> None:
    failed = reply(ResponsesApi, stream=True)
    for event in extended(WHOLE, CUT):
        list(failed.events(event))
    (end,) = failed.failure(ApiError(503, "the target was lost"))
    items = end.data["response"]["output"]
    assert [item["status"] for item in items] == ["completed", "incomplete"]


@EVERY
def test_the_gateway_reports_that_the_models_limit_cut_a_call(kind: type[Api]) -> None:
    pieces = [
        AnswerPiece(calls=(CallDelta(0, CUT.arguments, CUT.id, CUT.name),), tokens=1),
        AnswerPiece(calls=(CallDelta(0, 'lk"}'),), tokens=10**9),  # more than any limit
    ]
    body = {"model": "dreamr", **SENT[kind]}
    pair = Pair(target={"answers": pieces})
    found = use(lambda gate: gate.ask(body, kind.path), pair).json
    assert reason(kind, found) == REASONS[kind][1]
