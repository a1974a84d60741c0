"""Calls in the text of a local model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.answers import AnswerForm, CallDelta
from dreamr.conversation import Conversation, Tool
from dreamr.engines.local.tool_calls import CallChoice, CallParser, writes_calls

CALL = '<tool_call>\n{"name": "price", "arguments": {"of": "tea"}}\n</tool_call>'
TOOLS = Tool("price"), Tool("sum")


def parsed(text: str, size: int) -> tuple[str, list[CallDelta]]:
    """Return text and calls of a text that comes in pieces of a size."""
    parser = CallParser()
    found = [parser.push(text[place : place + size]) for place in range(0, len(text), size)]
    found.append(parser.push("", last=True))
    return "".join(said for said, _ in found), [call for _, calls in found for call in calls]


@given(st.integers(1, 200))
def test_text_and_calls_do_not_depend_on_the_pieces(size: int) -> None:
    said, calls = parsed(f"I look it up.\n{CALL}\n{CALL}\n", size)
    assert said == "I look it up.\n"
    assert [(call.index, call.name) for call in calls] == [(0, "price"), (1, "price")]
    assert [json.loads(call.arguments) for call in calls] == [{"of": "tea"}] * 2
    assert calls[0].id != calls[1].id


@pytest.mark.parametrize(
    "text",
    [
        "3 < 4 and <tool is no tag",
        "<tool_call>not JSON</tool_call>",
        "<tool_call>[1]</tool_call>",
        '<tool_call>{"name": "price", "argum',
        "<tool_",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 99])
def test_what_is_not_a_call_is_text(text: str, size: int) -> None:
    assert parsed(text, size) == (text, [])


def test_arguments_may_be_left_out_or_be_text() -> None:
    _, (first, second) = parsed(
        '<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b", "arguments": "{}"}'
        "</tool_call>",
        9,
    )
    assert (first.arguments, second.arguments) == ("{}", "{}")


def test_a_form_limits_the_calls() -> None:
    talk = Conversation(Conversation.from_prompt("?").turns, tools=TOOLS)
    assert [name for name, _ in CallChoice.of(talk, AnswerForm()).tools] == ["price", "sum"]
    one = CallChoice.of(talk, AnswerForm(tool="sum", parallel_calls=False))
    assert ([name for name, _ in one.tools], one.most) == (["sum"], 1)


@pytest.mark.parametrize(
    ("template", "writes"),
    [
        ("{% if tools %}<tool_call>{% endif %}", True),
        ("{% if tools %}<tool_call><function={% endif %}", False),
        ("{% if tools %}[TOOL_CALLS]{% endif %}", False),
        ("{{ messages }}", False),
    ],
)
def test_a_template_shows_whether_calls_are_json_between_tags(template: str, writes: bool) -> None:
    assert writes_calls(template) is writes
