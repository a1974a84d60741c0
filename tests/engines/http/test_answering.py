"""Answers in a form over HTTP: one chat request that carries the reasoning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from dreamr.answers import (
    AnswerBuilder,
    AnswerForm,
    AnswerPiece,
    Choice,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    TokenLogprob,
    WrittenAnswer,
)
from dreamr.conversation import Conversation, Image, Text, Tool, ToolCall, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import EngineError, Unsupported
from support.formed import Formed

QUESTION = Conversation.from_prompt("What do tea and milk cost?")
IMAGE = Conversation.from_prompt("What is it?", Image(bytes(48 * 48 * 3), 48, 48))
WEATHER = Tool("weather", "Ask.", '{"type": "object"}', strict=True)
TOOLS = replace(QUESTION, tools=(WEATHER,))
CALLED = Turn("assistant", (), (ToolCall("a", "weather", "{}"),), reasoning="Look it up.")
LOOP = replace(TOOLS, turns=(*TOOLS.turns, CALLED, Turn("tool", (Text("2 and 1"),), call_id="a")))
THOUGHT = ("Tea is 2.\n\n", "So 3.\n</think>", "\n\n")
OBJECT = [{"content": '{"sum"'}, {"content": ": 3}"}]
CALL = [
    {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
]
TEXT = [{"content": "It"}, {"content": " is 3."}]
FAMILIES = ("qwen3", "qwen3_vl_thinking", "qwen3_5", "qwen3_vl_instruct")


async def opened(server: Formed) -> HttpEngine:
    options = HttpOptions(url="http://here/v1", retries=2)
    return await HttpEngine.open(options, server.transport)


def written(
    server: Formed,
    form: AnswerForm,
    conversation: Conversation = QUESTION,
    prefix: Sequence[str] = THOUGHT,
    most: int = 64,
) -> tuple[WrittenAnswer, list[AnswerPiece]]:
    async def work() -> tuple[WrittenAnswer, list[AnswerPiece]]:
        async with await opened(server) as engine:
            context = Context(conversation, tuple(prefix))
            sampling = SamplingParams(max_tokens=most)
            pieces = [piece async for piece in engine.write_answer(context, form, sampling)]
            builder = AnswerBuilder()
            for piece in pieces:
                builder.add(piece)
            return builder.build(), pieces

    return anyio.run(work)


def problem(server: Formed, form: AnswerForm, conversation: Conversation = QUESTION) -> str:
    async def work() -> str:
        async with await opened(server) as engine:
            return await engine.form_problem(conversation, form)

    return anyio.run(work)


def streamed(server: Formed, conversation: Conversation, prefix: Sequence[str]) -> str:
    """The prompt with which the same reasoning would be continued without a form."""

    async def work() -> None:
        async with await opened(server) as engine:
            context = Context(conversation, tuple(prefix))
            async for _ in engine.stream(context, SamplingParams(max_tokens=1)):
                pass

    server.said = lambda body: "so"
    anyio.run(work)
    return server.prompts[-1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("conversation", [QUESTION, TOOLS, LOOP], ids=["plain", "tools", "loop"])
def test_the_answer_continues_the_very_prompt_of_the_reasoning(
    family: str, tokens: bool, conversation: Conversation
) -> None:
    server = Formed(family=family, tokens=tokens, answers=[OBJECT])
    form = AnswerForm(tool_choice="none", format=JsonObject())
    expected = streamed(server, conversation, THOUGHT)
    answer, _ = written(server, form, conversation)
    assert answer.text == '{"sum": 3}'
    assert server.prompts[-1].rstrip() == expected.rstrip()
    assert "Tea is 2.\n\nSo 3.\n</think>" in server.prompts[-1]
    assert ("weather" in server.prompts[-1]) is bool(conversation.tools)


def test_a_question_that_the_template_trims_is_carried_trimmed() -> None:
    padded = Conversation.from_prompt("  What is it?\n ")
    server = Formed(family="qwen3_5", answers=[OBJECT])
    expected = streamed(server, padded, THOUGHT)
    assert written(server, AnswerForm(format=JsonObject()), padded)[0].text == '{"sum": 3}'
    assert server.prompts[-1].rstrip() == expected.rstrip()


@pytest.mark.parametrize("family", ["qwen3_vl_thinking", "qwen3_5", "qwen3_vl_instruct"])
def test_the_reasoning_about_an_image_is_carried_too(family: str) -> None:
    server = Formed(family=family, answers=[OBJECT])
    expected = streamed(server, IMAGE, THOUGHT)
    answer, _ = written(server, AnswerForm(format=JsonObject()), IMAGE)
    assert answer.text == '{"sum": 3}'
    assert server.prompts[-1].rstrip() == expected.rstrip()


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (AnswerForm(format=JsonObject()), {"response_format": {"type": "json_object"}}),
        (
            AnswerForm(format=JsonSchema('{"type": "object"}', "sum", False)),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "sum", "schema": {"type": "object"}, "strict": False},
                }
            },
        ),
        (AnswerForm(format=Regex("[0-9]")), {"structured_outputs": {"regex": "[0-9]"}}),
        (AnswerForm(format=Choice(("a", "b"))), {"structured_outputs": {"choice": ["a", "b"]}}),
        (
            AnswerForm(format=Grammar("root ::= 1")),
            {"structured_outputs": {"grammar": "root ::= 1"}},
        ),
        (AnswerForm(top_logprobs=3), {"logprobs": True, "top_logprobs": 3}),
    ],
)
def test_a_format_is_demanded_in_the_words_of_the_server(
    form: AnswerForm, fields: dict[str, Any]
) -> None:
    server = Formed(answers=[OBJECT])
    written(server, form)
    [body] = server.formed
    assert {name: body.get(name) for name in fields} == fields
    assert "tools" not in body


@pytest.mark.parametrize(
    ("form", "choice"),
    [
        (AnswerForm(), "auto"),
        (AnswerForm(tool_choice="required"), "required"),
        (AnswerForm(tool="weather"), {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_calls_come_in_pieces_under_the_choice_of_the_client(form: AnswerForm, choice: Any) -> None:
    server = Formed(answers=[CALL], reason="tool_calls")
    answer, pieces = written(server, form, TOOLS)
    [body] = server.formed
    assert body["tool_choice"] == choice
    assert body["tools"][0]["function"] == {
        "name": "weather",
        "description": "Ask.",
        "parameters": {"type": "object"},
        "strict": True,
    }
    assert answer.calls == (ToolCall("b", "weather", '{"city": "Rome"}'),)
    assert (answer.finish, answer.tokens, len(pieces)) == ("stop", 3, 4)


def test_every_request_of_a_conversation_shows_the_same_tools() -> None:
    server = Formed(answers=[CALL], said=lambda body: "So.\n\n")

    async def work() -> None:
        async with await opened(server) as engine:
            context = Context(TOOLS)
            async for _ in engine.stream(context, SamplingParams(max_tokens=2)):
                pass
            await engine.judge(context, ["So.\n\n"])
            context = replace(context, prefix=THOUGHT)
            async for _ in engine.write_answer(context, AnswerForm(), SamplingParams()):
                pass

    anyio.run(work)
    about = [body for body in server.chats if "What do tea" in json.dumps(body)]
    assert len(about) == 3
    assert len({json.dumps(body.get("tools")) for body in about}) == 1
    assert [body["tool_choice"] for body in about] == ["none", "none", "auto"]


def test_earlier_calls_their_results_and_thoughts_are_sent_as_messages() -> None:
    server = Formed(answers=[OBJECT])
    written(server, AnswerForm(tool_choice="none", format=JsonObject()), LOOP, ())
    _, called, result = server.formed[0]["messages"]
    function = {"name": "weather", "arguments": "{}"}
    assert called["tool_calls"] == [{"id": "a", "type": "function", "function": function}]
    assert called["reasoning_content"] == called["reasoning"] == "Look it up."
    assert result == {"role": "tool", "content": "2 and 1", "tool_call_id": "a"}


def test_characters_that_pieces_of_arguments_divide_are_joined() -> None:
    parts = ['{"city": "\ud83d', "\ude00", ' \ud83d"}']
    call = [
        {
            "tool_calls": [
                {"index": 0, "id": "b", "function": {"name": "weather", "arguments": part}}
            ]
        }
        for part in parts
    ]
    answer, pieces = written(Formed(answers=[call]), AnswerForm(), TOOLS)
    assert [one.arguments for one in answer.calls] == ['{"city": "\U0001f600 \ufffd"}']
    assert "".join(one.arguments for piece in pieces for one in piece.calls) == (
        answer.calls[0].arguments
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('{"city": "Rome"}', '{"city": "Rome"}'),
        ("", "{}"),
        ('{"city": "Ro', '{"invalid": "{\\"city\\": \\"Ro"}'),
        ("[1]", '{"value": "[1]"}'),
    ],
)
def test_earlier_arguments_that_are_cut_do_not_fail_a_request(given: str, sent: str) -> None:
    call = Turn("assistant", (), (ToolCall("a", "weather", given),))
    talk = replace(LOOP, turns=(LOOP.turns[0], call, LOOP.turns[2]))
    server = Formed(answers=[OBJECT])
    written(server, AnswerForm(format=JsonObject(), tool_choice="none"), talk, ())
    called = server.formed[0]["messages"][1]
    assert called["tool_calls"][0]["function"]["arguments"] == sent


@pytest.mark.parametrize(("most", "finish"), [(len(CALL), "length"), (64, "stop")])
@pytest.mark.parametrize("form", [AnswerForm(), AnswerForm(format=JsonObject())])
def test_a_call_that_takes_all_tokens_is_cut_whatever_the_server_says(
    form: AnswerForm, most: int, finish: str
) -> None:
    server = Formed(answers=[CALL], reason="tool_calls")
    answer, _ = written(server, form, TOOLS, most=most)
    assert (len(answer.calls), answer.finish) == (1, finish)


def test_a_format_beside_tools_is_demanded_once_the_model_begins_a_text() -> None:
    form = AnswerForm(format=JsonObject())
    server = Formed(answers=[TEXT, OBJECT])
    answer, _ = written(server, form, TOOLS)
    assert answer.text == '{"sum": 3}'
    free, formed = server.formed
    assert (free["tool_choice"], free.get("response_format")) == ("auto", None)
    assert (formed["tool_choice"], formed["response_format"]["type"]) == ("none", "json_object")
    assert answer.tokens == len(OBJECT)  # none of the text that was dropped
    assert server.open_streams == 0


def test_a_call_beside_a_format_needs_one_request() -> None:
    server = Formed(answers=[[{"content": "\n"}, *CALL]])
    answer, _ = written(server, AnswerForm(format=JsonObject()), TOOLS)
    assert [call.name for call in answer.calls] == ["weather"]
    assert answer.text == ""
    assert len(server.formed) == 1


def test_an_answer_in_the_field_of_reasoning_is_the_answer_if_reasoning_was_given() -> None:
    deltas = [{"reasoning": '{"sum"', "role": "user"}, {"reasoning_content": ": 3}"}]
    server = Formed(answers=[deltas])
    form = AnswerForm(format=JsonObject())
    assert written(server, form)[0].text == '{"sum": 3}'
    alone = written(server, form, prefix=())[0]
    assert (alone.reasoning, alone.text) == ('{"sum": 3}', "")


def test_log_probabilities_are_read_with_their_alternatives() -> None:
    top = [{"token": "3", "logprob": -0.1, "bytes": [51]}, {"token": "4", "logprob": -9999.0}]
    entry = {**top[0], "top_logprobs": top}
    server = Formed(answers=[[{"content": "3", "logprobs": {"content": [entry]}}]])
    answer, _ = written(server, AnswerForm(top_logprobs=2))
    three = TokenLogprob("3", -0.1, (51,))
    four = TokenLogprob("4", -9999.0)
    assert answer.logprobs == (replace(three, top=(three, four)),)


def test_whether_a_server_parses_calls_is_tried_once() -> None:
    server = Formed(parses=False)
    assert "has no tool parser" in problem(server, AnswerForm(), TOOLS)
    assert problem(Formed(), AnswerForm(), TOOLS) == ""
    assert problem(server, AnswerForm(tool_choice="none", top_logprobs=0), TOOLS) == ""


def test_other_servers_write_the_answer_whole() -> None:
    server = Formed(owner="somebody", answers=[OBJECT])
    assert "server does not continue reasoning" in problem(server, AnswerForm(format=JsonObject()))
    assert written(server, AnswerForm(format=JsonObject()), prefix=())[0].text == '{"sum": 3}'


def test_a_server_without_a_parser_is_named_with_what_helps() -> None:
    server = Formed(parses=False)

    def refused(body: Any) -> str:
        return ""

    server.said = refused
    with pytest.raises(Unsupported, match="--tool-call-parser"):
        written(server, AnswerForm(), TOOLS)


def test_a_request_is_sent_again_until_a_first_piece_has_arrived() -> None:
    server = Formed(answers=[OBJECT])

    async def work() -> str:
        async with await opened(server) as engine:
            server.failures = [503]
            context, form = Context(QUESTION, THOUGHT), AnswerForm(format=JsonObject())
            pieces = engine.write_answer(context, form, SamplingParams())
            return "".join([piece.text async for piece in pieces])

    assert anyio.run(work) == '{"sum": 3}'


def test_reasoning_is_yielded_once_though_a_lost_request_is_sent_again() -> None:
    server = Formed(answers=[[{"reasoning": "Think."}, *OBJECT]])

    async def work() -> list[AnswerPiece]:
        async with await opened(server) as engine:
            server.breaks = [1]
            context, form = Context(QUESTION), AnswerForm(format=JsonObject())
            pieces = engine.write_answer(context, form, SamplingParams())
            return [piece async for piece in pieces]

    pieces = anyio.run(work)
    assert "".join(piece.reasoning for piece in pieces) == "Think."
    assert "".join(piece.text for piece in pieces) == '{"sum": 3}'


def test_an_answer_without_an_end_is_an_error() -> None:
    server = Formed(answers=[OBJECT], reason=None)
    with pytest.raises(EngineError, match="before the end of the answer"):
        written(server, AnswerForm(format=JsonObject()))


def test_leaving_an_answer_closes_its_connection() -> None:
    server = Formed(answers=[OBJECT])

    async def work() -> None:
        async with await opened(server) as engine:
            context, form = Context(QUESTION, THOUGHT), AnswerForm(format=JsonObject())
            pieces = engine.write_answer(context, form, SamplingParams())
            await anext(pieces)
            assert server.open_streams == 1
            await pieces.aclose()

    anyio.run(work)
    assert server.open_streams == 0
