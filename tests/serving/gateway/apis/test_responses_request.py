"""Requests to OpenAI's responses: their turns, options and errors."""

from __future__ import annotations

import pytest

from dreamr.conversation import ToolCall
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.apis.responses import StoredResponse
from dreamr.serving.gateway.content_parts import SentMedia
from support.gateways import QUESTION, Json
from support.responses import read, refused

PIXEL = "data:image/png;base64,AAAA"


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
