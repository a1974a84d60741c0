"""Tools and formats on a real vLLM: small random models show the form, not sense."""

from __future__ import annotations

import json
import random
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
    JsonSchema,
    Regex,
    WrittenAnswer,
)
from dreamr.conversation import Conversation, Image, Text, Tool, ToolCall, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import AnswerExtended, RunStarted

PARSER = "--enable-auto-tool-choice --tool-call-parser hermes"
FAMILIES = (f"qwen3_vl_thinking {PARSER}", f"qwen3_vl_thinking --enable-scale-out {PARSER}")
MORE = (f"qwen3_5 {PARSER}", f"qwen3_vl_instruct {PARSER}")
CITIES = ("Rome", "Oslo")
OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": list(CITIES)}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = Tool("weather", "Weather of a city.", json.dumps(OBJECT), strict=True)
PHOTO = Image(random.Random(1).randbytes(3 * 64 * 64), 64, 64)
PLAIN = Conversation.from_prompt("How warm is it?")
SEEN = Conversation.from_prompt("How warm is it there?", PHOTO)
CALLED = Turn("assistant", (), (ToolCall("a", "weather", '{"city": "Rome"}'),))
RESULT = Turn("tool", (Text("21 degrees"),), call_id="a")
LOOP = Conversation((*PLAIN.turns, CALLED, RESULT))
TALKS = {"plain": PLAIN, "image": SEEN, "loop": LOOP}
THOUGHT = ("It depends on the city.\n\n", "So ask.\n</think>", "\n\n")
SCHEMA = AnswerForm(tool_choice="none", format=JsonSchema(json.dumps(OBJECT)))
pytestmark = pytest.mark.server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    families = (*FAMILIES, *(MORE if metafunc.config.getoption("--all") else ()))
    metafunc.parametrize("family", families, indirect=True, scope="module")


def written(
    root: str,
    form: AnswerForm,
    talk: Conversation,
    most: int = 200,
    prefix: Sequence[str] = THOUGHT,
) -> tuple[WrittenAnswer, list[AnswerPiece]]:
    async def work() -> tuple[WrittenAnswer, list[AnswerPiece]]:
        async with await HttpEngine.open(HttpOptions(url=f"{root}/v1")) as engine:
            assert await engine.form_problem(talk, form) == ""
            context, sampling = Context(talk, tuple(prefix)), SamplingParams(max_tokens=most)
            pieces = [piece async for piece in engine.write_answer(context, form, sampling)]
            builder = AnswerBuilder()
            for piece in pieces:
                builder.add(piece)
            return builder.build(), pieces

    return anyio.run(work)


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
@pytest.mark.parametrize(
    "form", [AnswerForm(tool_choice="required"), AnswerForm(tool_choice="required", tool="weather")]
)
def test_a_call_that_is_required_follows_the_thought_in_pieces(
    family: tuple[str, str], form: AnswerForm, talk: Conversation
) -> None:
    answer, pieces = written(family[1], form, replace(talk, tools=(TOOL,)))
    assert answer.finish == "stop"
    assert {call.name for call in answer.calls} == {"weather"}
    assert all(json.loads(call.arguments)["city"] in CITIES for call in answer.calls)
    assert all(call.id for call in answer.calls)
    assert len([piece for piece in pieces if piece.calls]) > 1


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["alone", "beside tools"])
def test_a_schema_holds_from_the_first_token_after_the_thought(
    family: tuple[str, str], talk: Conversation, tools: tuple[Tool, ...]
) -> None:
    answer, _ = written(family[1], SCHEMA, replace(talk, tools=tools))
    assert json.loads(answer.text)["city"] in CITIES
    assert (answer.reasoning, answer.finish) == ("", "stop")
    assert answer.tokens > 0


def test_a_choice_and_an_expression_hold_too(family: tuple[str, str]) -> None:
    root = family[1]
    assert written(root, AnswerForm(format=Choice(CITIES)), PLAIN)[0].text in CITIES
    assert written(root, AnswerForm(format=Regex("[0-9]{3}")), PLAIN)[0].text.isdigit()


def test_a_format_applies_if_the_model_calls_nothing(family: tuple[str, str]) -> None:
    form = AnswerForm(format=JsonSchema(json.dumps(OBJECT)))
    answer, _ = written(family[1], form, replace(PLAIN, tools=(TOOL,)))
    assert answer.calls or json.loads(answer.text)["city"] in CITIES


def test_a_call_that_is_cut_is_no_text(family: tuple[str, str]) -> None:
    form = AnswerForm(tool_choice="required")
    answer, _ = written(family[1], form, replace(PLAIN, tools=(TOOL,)), most=6)
    assert (answer.finish, answer.text) == ("length", "")


def test_the_model_may_answer_instead_of_calling(family: tuple[str, str]) -> None:
    answer, _ = written(family[1], AnswerForm(), replace(PLAIN, tools=(TOOL,)), most=12)
    assert answer.tokens == 12
    assert answer.finish == "length"


def test_log_probabilities_come_with_their_alternatives(family: tuple[str, str]) -> None:
    answer, _ = written(family[1], AnswerForm(top_logprobs=3), PLAIN, most=4)
    assert len(answer.logprobs) == 4
    assert all(len(token.top) == 3 and token.logprob <= 0 for token in answer.logprobs)


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_a_pair_reasons_and_the_target_answers_in_the_form(
    family: tuple[str, str], talk: Conversation
) -> None:
    happened: list[Any] = []
    config = RunConfig(
        options=ScheduleConfig(max_tokens=400), thinking_budget=24, answer_form=SCHEMA
    )

    async def work() -> Any:
        async with await HttpEngine.open(HttpOptions(url=f"{family[1]}/v1")) as engine:
            step_format = replace(
                config.step_format, max_tokens=16, opens_thought=engine.opens_thought(talk)
            )
            return await run(
                replace(talk, tools=(TOOL,)),
                target=engine,
                draft=engine,
                config=replace(config, step_format=step_format),
                on_event=happened.append,
            )

    result = anyio.run(work)
    assert json.loads(result.answer)["city"] in CITIES
    assert any(isinstance(event, AnswerExtended) for event in happened)
    [started] = [event for event in happened if isinstance(event, RunStarted)]
    assert "pass_through" not in started.options
