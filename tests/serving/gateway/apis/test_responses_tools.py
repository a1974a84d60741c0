"""Tools in OpenAI's responses: functions, custom tools and namespaces."""

from __future__ import annotations

import json

import pytest

from dreamr.answers import AnswerPiece, CallDelta, JsonSchema
from dreamr.conversation import Tool
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from support.gateways import QUESTION, Json
from support.listening import listening
from support.pairs import Pair
from support.responses import ASKED, read


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


openai = pytest.importorskip("openai")

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
