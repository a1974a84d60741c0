"""OpenAI's responses, over the official client and by their bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.answers import AnswerPiece, CallDelta, JsonSchema, TokenLogprob
from dreamr.conversation import Tool, ToolCall
from dreamr.engines import Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.apis.responses import ResponseStore, StoredResponse
from dreamr.serving.gateway.apis.responses.request import read_request
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from dreamr.serving.store.memory import MemoryStore
from support.gateways import QUESTION, Gateway, Json, use
from support.listening import listening
from support.pairs import RIGHT, Pair

openai = pytest.importorskip("openai")

REASONING = "".join(RIGHT[:2])
ASKED: Json = {"model": "dreamr", "input": QUESTION}
LIKELY = (TokenLogprob("3", -0.5), TokenLogprob("4", -2.0))
PIXEL = "data:image/png;base64,AAAA"


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with (
        listening() as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as found,
    ):
        yield found


def read(earlier: StoredResponse | None = None, **more: Any) -> ParsedRequest:
    sender = Sender("alice", lambda model: RunOptions(), ServeOptions(), earlier)
    body = json.dumps({**ASKED, **more}).encode()
    return read_request(body, sender)


def refused(**more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**more)
    return caught.value


def test_a_response_has_reasoning_and_a_message(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED)
    thought, message = found.output
    assert [part.text for part in thought.content] == [REASONING]
    assert (message.role, found.output_text, found.status) == ("assistant", "3.70", "completed")
    assert (found.usage.total_tokens, found.usage.output_tokens_details.reasoning_tokens) == (15, 6)


@pytest.mark.parametrize("reasoning", [None, {"summary": "auto"}])
def test_a_stream_ends_with_the_same_response(
    client: openai.OpenAI, reasoning: Json | None
) -> None:
    whole = client.responses.create(**ASKED, reasoning=reasoning)
    with client.responses.stream(**ASKED, reasoning=reasoning) as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert streamed.output_text == whole.output_text == "3.70"
    ids = {"id"}
    assert streamed.output[0].to_dict().keys() - ids == whole.output[0].to_dict().keys() - ids


def test_the_events_of_a_stream_are_in_the_official_order(client: openai.OpenAI) -> None:
    kinds = [event.type for event in client.responses.create(**ASKED, stream=True)]
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_a_request_continues_an_earlier_response(client: openai.OpenAI) -> None:
    first = client.responses.create(**ASKED, instructions="Be brief.")
    events = client.responses.create(
        model="dreamr", input="And two teas?", previous_response_id=first.id, stream=True
    )
    second = list(events)[-1].response
    third = client.responses.create(
        model="dreamr", input="And three?", previous_response_id=second.id
    )
    assert first.usage.input_tokens == 9
    assert second.usage.input_tokens == 7 + 1 + 3  # without the instructions
    assert third.usage.input_tokens == 11 + 1 + 2


def test_a_stored_response_can_be_had_and_deleted(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED)
    assert client.responses.retrieve(found.id) == found
    client.responses.delete(found.id)
    with pytest.raises(openai.NotFoundError, match="there is no response"):
        client.responses.retrieve(found.id)
    with pytest.raises(openai.BadRequestError, match="there is no response"):
        client.responses.create(**ASKED, previous_response_id=found.id)


def test_a_response_is_not_stored_against_the_will_of_its_client(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(found.id)


def test_a_response_belongs_to_its_client() -> None:
    async def work(gate: Gateway) -> tuple[int, int]:
        found = (await gate.ask(ASKED, "/v1/responses")).json["id"]
        path = f"/v1/responses/{found}"
        other = await gate.ask(b"", path, "GET", client="10.0.0.2")
        return (await gate.get(path)).status, other.status

    assert use(work) == (200, 404)


@pytest.mark.anyio
async def test_the_oldest_responses_of_a_client_make_room_for_its_own() -> None:
    store = ResponseStore(MemoryStore(), 60, most=4)
    for owner, name in (("bob", "b"), ("alice", "1"), ("alice", "2"), ("alice", "3")):
        await store.keep(owner, {"id": name}, ())
    assert (await store.find("b", "bob")).body == {"id": "b"}
    assert await store.find("3", "alice")
    with pytest.raises(ApiError):
        await store.find("1", "alice")


@pytest.mark.anyio
async def test_responses_expire_and_are_bounded_in_bytes() -> None:
    now = [0.0]
    store = ResponseStore(MemoryStore(lambda: now[0]), 60, most_bytes=10_000)
    await store.keep("alice", {"id": "large"}, (ParsedMessage("user", ("x" * 6000,)),))
    for name in "123456":
        await store.keep(name, {"id": name}, (ParsedMessage("user", ("x" * 2000,)),))
    kept = []
    for name in ("large", *"123456"):
        with suppress(ApiError):
            kept.append((await store.find(name, "alice" if name == "large" else name)).body["id"])
    assert kept == ["3", "4", "5", "6"]
    now[0] = 60.0
    with pytest.raises(ApiError):
        await store.find("6", "6")


@pytest.mark.anyio
async def test_an_attachment_of_a_conversation_is_kept_once() -> None:
    image = SentMedia("image", "input.0", url="data:image/png;base64," + "A" * 20_000)
    store = ResponseStore(MemoryStore(), 60, most_bytes=50_000)
    history = (ParsedMessage("user", ("What?", image)),)
    for name in "123456":
        await store.keep("alice", {"id": name}, history)
    found = [await store.find(name, "alice") for name in "123456"]
    assert {one.history for one in found} == {history}
    assert found[0].size > 20_000


def test_earlier_turns_count_as_memory_of_the_request() -> None:
    earlier = StoredResponse({}, (ParsedMessage("user", ("x" * 5000,)),), 5001)
    found = read(earlier, previous_response_id="resp_1")
    assert found.recalled > 5000
    assert found.turns == (ParsedMessage("user", ("x" * 5000, "\n\n", QUESTION)),)


def test_an_agent_s_items_become_turns() -> None:
    turns = read(
        input=[
            {"role": "user", "content": QUESTION},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [
                {"type": "reasoning_text", "text": "Look it up."}]},
            {"type": "function_call", "call_id": "c1", "name": "price", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": [
                {"type": "input_text", "text": "2.50"},
                {"type": "input_image", "image_url": PIXEL}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "2.50"}]},
            {"role": "user", "content": [
                {"type": "input_text", "text": "Sure?"},
                {"type": "input_file", "filename": "bill.pdf", "file_data": "BBBB"}]},
        ]
    ).turns  # fmt: skip
    call = ToolCall("c1", "price", "{}")
    assert turns == (
        ParsedMessage("user", (QUESTION,)),
        ParsedMessage("assistant", (), calls=(call,), reasoning="Look it up."),
        ParsedMessage(
            "tool", ("2.50", SentMedia("image", "input.3.output.1.image_url", url=PIXEL)),
            call_id="c1",
        ),
        ParsedMessage("assistant", ("2.50",)),
        ParsedMessage(
            "user",
            (
                "Sure?",
                SentMedia("file", "input.5.content.1.file_data", base64="BBBB", name="bill.pdf"),
            ),
        ),
    )  # fmt: skip


def test_an_effort_is_a_thinking_budget_unless_one_is_given() -> None:
    low = {"effort": "low"}
    assert read(reasoning=low).options.thinking_budget == 1024
    assert read(reasoning=low, dreamr={"thinking_budget": 99}).options.thinking_budget == 99
    assert refused(reasoning={"effort": "huge"}).param == "reasoning.effort"


def test_tools_and_format_are_read() -> None:
    schema = {"type": "object", "properties": {}}
    found = read(
        tools=[{"type": "function", "name": "price", "parameters": schema, "strict": False}],
        tool_choice={"type": "function", "name": "price"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "bill", "schema": schema}},
    )
    assert found.tools == (Tool("price", "", json.dumps(schema)),)
    assert (found.form.tool_choice, found.form.tool) == ("required", "price")
    assert found.form.format == JsonSchema(json.dumps(schema), "bill")
    assert not found.form.parallel_calls


@pytest.mark.parametrize("stop", [None, "!?"])
def test_log_probabilities_are_those_of_the_answer(stop: str | None) -> None:
    """Also while text that may begin a stop sequence is held back."""
    pieces = [
        AnswerPiece("3", tokens=1, logprobs=(TokenLogprob("3", -0.5, None, LIKELY),)),
        AnswerPiece("!", tokens=1, logprobs=(TokenLogprob("!", -1.0),)),
    ]
    asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "stop": stop}
    with (
        listening(Pair(target={"answers": pieces})) as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = client.responses.create(**ASKED, extra_body=asked)
        events = list(client.responses.create(**ASKED, stream=True, extra_body=asked))
    tops: list[Json] = [{"token": "3", "logprob": -0.5}, {"token": "4", "logprob": -2.0}]
    expected: list[Json] = [
        {"token": "3", "logprob": -0.5, "top_logprobs": tops},
        {"token": "!", "logprob": -1.0, "top_logprobs": []},
    ]
    part = whole.output[-1].content[0]
    assert [one.token for one in part.logprobs] == ["3", "!"]
    assert part.logprobs[0].bytes == [51]
    assert [one.logprob for one in part.logprobs[0].top_logprobs] == [-0.5, -2.0]
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [one for event in deltas for one in event.to_dict()["logprobs"]] == expected
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert (done.text, done.to_dict()["logprobs"]) == ("3!", expected)
    assert events[-1].response.output[-1].content == [part]


def test_there_are_no_log_probabilities_unless_they_are_asked_for(client: openai.OpenAI) -> None:
    assert client.responses.create(**ASKED).output[-1].content[0].logprobs == []


def test_a_request_of_codex_is_understood() -> None:
    """Its system messages, its environment and its tools, some of which OpenAI runs."""
    shell = {"type": "function", "name": "exec_command", "strict": False, "parameters": {}}
    found = read(
        input=[
            {"type": "message", "id": "msg_1", "role": "developer", "content": [
                {"type": "input_text", "text": "You are a coding agent."}]},
            {"type": "message", "id": "msg_2", "role": "developer", "content": [
                {"type": "input_text", "text": "Skills"}]},
            {"type": "message", "id": "msg_3", "role": "user", "content": [
                {"type": "input_text", "text": "<environment_context>"}]},
            {"type": "message", "id": "msg_4", "role": "user", "content": [
                {"type": "input_text", "text": QUESTION}]},
        ],
        instructions="Be brief.",
        tools=[
            shell,
            {"type": "namespace", "name": "agents", "description": "", "tools": [shell]},
            {"type": "web_search", "external_web_access": False},
        ],
        tool_choice="auto", parallel_tool_calls=True, reasoning={"summary": "auto"}, stream=True,
        store=False, include=["reasoning.encrypted_content"], prompt_cache_key="1",
        client_metadata={"turn_id": "1"},
    )  # fmt: skip
    parts = ("Be brief.", "\n\n", "You are a coding agent.", "\n\n", "Skills")
    assert found.turns == (
        ParsedMessage("system", parts),
        ParsedMessage("user", ("<environment_context>", "\n\n", QUESTION)),
    )
    assert [tool.name for tool in found.tools] == ["exec_command", "agents__exec_command"]
    assert found.ignored == ("tools.2 (web_search)",)


PATCH: Json = {
    "type": "custom", "name": "apply_patch", "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}  # fmt: skip
PRICE: Json = {"type": "function", "name": "price", "parameters": {}, "strict": False}
SHOP: Json = {"type": "namespace", "name": "shop", "description": "A shop.", "tools": [PRICE]}


def test_a_custom_tool_is_offered_as_a_function_of_one_text() -> None:
    (tool,) = read(tools=[PATCH]).tools
    assert (tool.name, tool.strict) == ("apply_patch", True)
    assert json.loads(tool.parameters)["required"] == ["input"]
    assert tool.description == (
        "Edit files.\n\nThe input follows this grammar (lark):\n\nstart: /.+/"
    )


def test_of_tools_with_one_name_the_first_is_offered() -> None:
    twice = {**PRICE, "name": "shop__price", "description": "Another."}
    found = read(tools=[SHOP, twice])
    assert [tool.description for tool in found.tools] == [""]
    assert found.ignored == ("tools.1 (function)",)


def test_a_tool_can_be_demanded_by_its_kind_and_namespace() -> None:
    patch = read(tools=[PATCH], tool_choice={"type": "custom", "name": "apply_patch"})
    assert patch.form.tool == "apply_patch"
    choice = {"type": "function", "namespace": "shop", "name": "price"}
    assert read(tools=[SHOP], tool_choice=choice).form.tool == "shop__price"


@pytest.mark.parametrize(
    ("tool", "function", "arguments", "expected"),
    [
        (
            PATCH,
            "apply_patch",
            '{"input": "*** Begin Patch"}',
            {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch"},
        ),
        (
            PATCH,
            "apply_patch",
            "*** Begin Patch",
            {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch"},
        ),
        (
            SHOP,
            "shop__price",
            '{"of": "tea"}',
            {
                "type": "function_call",
                "name": "price",
                "namespace": "shop",
                "arguments": '{"of": "tea"}',
            },
        ),
    ],
)
def test_a_call_has_the_kind_and_the_namespace_of_its_tool(
    tool: Json, function: str, arguments: str, expected: Json
) -> None:
    """Streamed or not, and sent back with its result."""
    pieces = [
        AnswerPiece(calls=(CallDelta(0, "", "call_1", function),), tokens=1),
        AnswerPiece(calls=(CallDelta(0, arguments[:7]),), tokens=1),
        AnswerPiece(calls=(CallDelta(0, arguments[7:]),), tokens=1),
    ]
    with (
        listening(Pair(target={"answers": pieces})) as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = client.responses.create(**ASKED, tools=[tool])
        with client.responses.stream(**ASKED, tools=[tool]) as stream:
            events = list(stream)
            streamed = stream.get_final_response()
    for response in (whole, streamed):
        call = response.output[-1].to_dict()
        assert {name: call[name] for name in expected} == expected
        assert call["call_id"] == "call_1"
    kinds = [event.type for event in events]
    if tool is PATCH:
        assert "response.function_call_arguments.delta" not in kinds
        (done,) = (e for e in events if e.type == "response.custom_tool_call_input.done")
        assert done.input == "*** Begin Patch"
    output = {"type": f"{expected['type']}_output", "call_id": "call_1", "output": "done"}
    turns = read(input=[{"role": "user", "content": QUESTION}, call, output]).turns
    assert turns[1].calls[0].name == function
    assert turns[2] == ParsedMessage("tool", ("done",), call_id="call_1")


def test_items_of_a_vendor_s_own_tools_are_left_out() -> None:
    found = read(
        input=[
            {"role": "user", "content": QUESTION},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ]
    )
    assert found.turns == (ParsedMessage("user", (QUESTION,)),)
    assert found.ignored == ("input.1 (web_search_call)",)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"background": True, "store": False}, "store"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": 3}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
        ({"input": [{"role": "user", "content": ""}]}, "input.0"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input.0.content.0"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(more: Json, param: str) -> None:
    error = refused(**more)
    assert (error.status, error.param) == (400, param)


def test_a_failed_stream_ends_with_a_failed_response() -> None:
    lost = Failure(EngineLost("the server went away"), tokens=4)
    pair = Pair(target={"stream_failures": {0: lost}})

    async def work(gate: Gateway) -> str:
        pair.errors["target"] = EngineLost("gone for good")
        body = {**ASKED, "stream": True, "dreamr": {"method": "target"}}
        return (await gate.ask(body, "/v1/responses")).body.decode()

    *_, last, end = use(work, pair).split("\n\n")
    assert end == ""
    name, data = last.split("\n")
    response = json.loads(data.removeprefix("data: "))["response"]
    assert name == "event: response.failed"
    assert (response["status"], response["error"]["code"]) == ("failed", "engine_lost")
