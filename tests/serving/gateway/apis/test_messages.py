"""Anthropic's messages, over the official client and by their bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.conversation import Tool, ToolCall
from dreamr.engines import Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.apis.messages.reply import signature_of
from dreamr.serving.gateway.apis.messages.request import read_request
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from support.gateways import QUESTION, Gateway, Json, use
from support.listening import listening
from support.pairs import RIGHT, Pair

anthropic = pytest.importorskip("anthropic")

REASONING = "".join(RIGHT[:2])
MESSAGES = [{"role": "user", "content": QUESTION}]
ASKED: Json = {"model": "dreamr", "max_tokens": 4096, "messages": MESSAGES}
THINKING = {"type": "enabled", "budget_tokens": 1024}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening() as root:
        yield root


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as found:
        yield found


def read(**more: Any) -> ParsedRequest:
    sender = Sender("alice", lambda model: RunOptions(), ServeOptions())
    return read_request(json.dumps({**ASKED, **more}).encode(), sender)


def said(*blocks: Json, role: str = "user") -> tuple[ParsedMessage, ...]:
    return read(messages=[{"role": role, "content": list(blocks)}]).turns


def refused(**more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**more)
    return caught.value


def test_a_message_holds_the_answer_and_no_thought_unless_asked(
    client: anthropic.Anthropic,
) -> None:
    found = client.messages.create(**ASKED)
    assert [block.type for block in found.content] == ["text"]
    assert found.content[0].text == "3.70"
    assert (found.stop_reason, found.usage.output_tokens) == ("end_turn", 8)
    assert found.usage.input_tokens == 7


def test_a_thought_is_a_block_with_a_signature(client: anthropic.Anthropic) -> None:
    found = client.messages.create(**ASKED, thinking=THINKING)
    thought, text = found.content
    assert (thought.type, thought.thinking, text.text) == ("thinking", REASONING, "3.70")
    assert thought.signature == signature_of(REASONING)


@pytest.mark.parametrize("thinking", [THINKING, {"type": "disabled"}])
def test_a_stream_ends_with_the_same_message(client: anthropic.Anthropic, thinking: Json) -> None:
    whole = client.messages.create(**ASKED, thinking=thinking)
    with client.messages.stream(**ASKED, thinking=thinking) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert [b.to_dict() for b in streamed.content] == [b.to_dict() for b in whole.content]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", 8)
    assert streamed.usage.input_tokens == 7


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    found = client.messages.create(**ASKED, stop_sequences=["7", ".7"])
    assert (found.content[0].text, found.stop_reason) == ("3", "stop_sequence")
    assert found.stop_sequence == ".7"


def test_tokens_are_counted_without_a_run(client: anthropic.Anthropic) -> None:
    found = client.messages.count_tokens(model="dreamr", messages=MESSAGES, system="Be brief.")
    assert found.input_tokens == 9


def test_the_client_lists_models(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["dreamr", "target", "draft"]
    assert client.models.retrieve("target").display_name == "target"


def test_the_client_raises_its_own_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="no model") as caught:
        client.messages.create(**{**ASKED, "model": "claude"})
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="budget_tokens must be smaller"):
        client.messages.create(**{**ASKED, "max_tokens": 100}, thinking=THINKING)


def test_a_key_is_taken_from_the_header_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMR_SERVE_KEYS", "sesame")

    async def work(gate: Gateway) -> tuple[int, int, str]:
        right = await gate.ask(ASKED, "/v1/messages", x_api_key="sesame")
        wrong = await gate.ask(ASKED, "/v1/messages", x_api_key="other")
        return right.status, wrong.status, wrong.json["error"]["type"]

    assert use(work) == (200, 401, "authentication_error")


@pytest.mark.parametrize(("path", "method"), [("/v1/messages", "GET"), ("/v1/messages/x", "POST")])
def test_errors_of_routes_are_in_the_format_of_the_api(path: str, method: str) -> None:
    found = use(lambda gate: gate.ask(b"{}", path, method))
    assert (found.status, found.json["type"]) in [(405, "error"), (404, "error")]


def test_system_comes_first() -> None:
    blocks = [{"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}}]
    assert read(system=blocks).turns[0] == ParsedMessage("system", ("Be",))


def test_images_and_documents_become_files() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}
    [turn] = said(
        {"type": "image", "source": PIXEL},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "document", "source": pdf, "title": "bill.pdf"},
        {"type": "document", "source": {"type": "text", "data": "Tea: 2.50"}},
        {"type": "document", "source": {"type": "file", "file_id": "file-1"}},
    )
    where = "messages.0.content"
    assert turn.parts == (
        SentMedia("image", f"{where}.0.source.data", base64="AAAA"),
        SentMedia("image", f"{where}.1.source.url", url="https://a.example/b.png"),
        "bill.pdf\n",
        SentMedia("file", f"{where}.2.source.data", base64="BBBB", name="bill.pdf"),
        "Tea: 2.50",
        SentMedia("file", f"{where}.4.source.file_id", file_id="file-1"),
    )


def test_an_agent_s_turns_keep_thought_call_and_result() -> None:
    result = [{"type": "text", "text": "2.50"}, {"type": "image", "source": PIXEL}]
    turns = read(
        messages=[
            *MESSAGES,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look it up.", "signature": "x"},
                    {"type": "text", "text": "One moment."},
                    {"type": "tool_use", "id": "t1", "name": "price", "input": {"of": "tea"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": result},
                    {"type": "text", "text": "And milk?"},
                ],
            },
        ]
    ).turns
    call = ToolCall("t1", "price", '{"of": "tea"}')
    image = SentMedia("image", "messages.2.content.0.content.1.source.data", base64="AAAA")
    assert turns[1:] == (
        ParsedMessage("assistant", ("One moment.",), calls=(call,), reasoning="Look it up."),
        ParsedMessage("tool", ("2.50", image), call_id="t1"),
        ParsedMessage("user", ("And milk?",)),
    )


def test_a_request_of_claude_code_is_understood() -> None:
    """Its reminders of the system after the question, and its labels."""
    cached = {"cache_control": {"type": "ephemeral"}}
    found = read(
        system=[{"type": "text", "text": "You are an agent."}, {"type": "text", "text": "Help."}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": QUESTION, **cached}]},
            {"role": "system", "content": "Available agent types"},
        ],
        tools=[
            {"name": "Bash", "description": "Runs a command", "input_schema": {"type": "object"}},
            {"name": "web_search", "type": "web_search_20250305"},
        ],
        metadata={"user_id": "1"}, max_tokens=32000, thinking={"type": "adaptive"}, stream=True,
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "high"},
    )  # fmt: skip
    assert found.turns == (
        ParsedMessage("system", ("You are an agent.", "Help.")),
        ParsedMessage("user", (QUESTION, "\n\n", "Available agent types")),
    )
    assert [tool.name for tool in found.tools] == ["Bash"]
    assert found.ignored == ("tools.1 (web_search_20250305)",)


def test_tools_and_their_choice_are_read() -> None:
    schema = {"type": "object", "properties": {"of": {"type": "string"}}}
    found = read(
        tools=[{"name": "price", "description": "Price of", "input_schema": schema}],
        tool_choice={"type": "tool", "name": "price", "disable_parallel_tool_use": True},
    )
    assert found.tools == (Tool("price", "Price of", json.dumps(schema)),)
    assert (found.form.tool_choice, found.form.tool) == ("required", "price")
    assert not found.form.parallel_calls


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"system": [{"type": "image", "source": PIXEL}]}, "system"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "messages.0.content.0.source",
        ),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(more: Json, param: str) -> None:
    error = refused(**more)
    assert (error.status, error.param) == (400, param)


def test_an_error_in_a_stream_is_an_event_with_its_name() -> None:
    lost = Failure(EngineLost("the server went away"), tokens=4)
    pair = Pair(target={"stream_failures": {0: lost}})

    async def work(gate: Gateway) -> str:
        pair.errors["target"] = EngineLost("gone for good")
        body = {**ASKED, "stream": True, "dreamr": {"method": "target"}}
        return (await gate.ask(body, "/v1/messages")).body.decode()

    *_, last, end = use(work, pair).split("\n\n")
    assert end == ""
    name, data = last.split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "overloaded_error"
