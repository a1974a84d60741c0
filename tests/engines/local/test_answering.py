"""Answers in a form by a worker process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dreamr.answers import AnswerForm, AnswerPiece, JsonSchema
from dreamr.conversation import Conversation, Tool
from dreamr.engines import AnswersInForm, Chunk, Context, SamplingParams
from dreamr.engines.local import LocalEngine
from dreamr.engines.local.answering import AnswersLocally
from dreamr.engines.local.tool_calls import Wanted
from dreamr.errors import Unsupported
from support.local_models import TEMPLATE, conversation, save_model

SCHEMA = JsonSchema(
    '{"type": "object", "properties": {"sum": {"type": "boolean"}}, "additionalProperties": false}'
)
PRICE = Tool(
    "price",
    parameters='{"properties": {"of": {"const": "tea"}}, "additionalProperties": false}',
)
SHOWN = "{% if tools %}{{ tools }} <tool_call>{% endif %}"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    folder = save_model("qwen3", tmp_path_factory.mktemp("calling"))
    shown(folder, SHOWN + TEMPLATE)
    found = LocalEngine(str(folder))
    yield found
    asyncio.run(found.aclose())


def shown(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)


def asked(*tools: Tool) -> Conversation:
    return Conversation(conversation().turns, tools=tools)


def answer(engine: LocalEngine, talk: Conversation, form: AnswerForm) -> list[AnswerPiece]:
    async def write() -> list[AnswerPiece]:
        async with asyncio.timeout(60):
            assert await engine.form_problem(talk, form) == ""
            context = Context(talk, ("Tea costs 3.\n\n",))
            sampling = SamplingParams(300, temperature=1.0, seed=1)
            return [piece async for piece in engine.write_answer(context, form, sampling)]

    return asyncio.run(write())


def problem(engine: LocalEngine, talk: Conversation, form: AnswerForm) -> str:
    with pytest.raises(Unsupported) as found:
        asyncio.run(engine.form_problem(talk, form))
    return str(found.value)


def test_an_answer_follows_its_schema(engine: LocalEngine) -> None:
    assert isinstance(engine, AnswersInForm)
    pieces = answer(engine, conversation(), AnswerForm(format=SCHEMA))
    assert json.loads("".join(piece.text for piece in pieces)).keys() <= {"sum"}
    assert pieces[-1].finish == "stop"


def test_a_call_that_is_demanded_is_written(engine: LocalEngine) -> None:
    pieces = answer(engine, asked(PRICE), AnswerForm(tool_choice="required", parallel_calls=False))
    [call] = [call for piece in pieces for call in piece.calls]
    assert call.name == "price"
    assert json.loads(call.arguments) in ({}, {"of": "tea"})
    assert "".join(piece.text for piece in pieces) == ""


class Speaker(AnswersLocally):
    """Writes a given text, a few characters at a time, and notes how it ended."""

    def __init__(self, text: str, size: int) -> None:
        self._pieces = [text[start : start + size] for start in range(0, len(text), size)]
        self.closed = False

    async def _chunks(
        self, context: Context, sampling: SamplingParams, wanted: Wanted | None = None
    ) -> AsyncGenerator[Chunk, None]:
        try:
            for place, piece in enumerate(self._pieces, 1):
                yield Chunk(piece, 1, "stop" if place == len(self._pieces) else None)
        finally:
            self.closed = True


def said(speaker: Speaker, form: AnswerForm) -> list[AnswerPiece]:
    async def write() -> list[AnswerPiece]:
        pieces = speaker.write_answer(Context(asked(PRICE), ()), form, SamplingParams())
        return [piece async for piece in pieces]

    return asyncio.run(write())


@pytest.mark.parametrize("size", [3, 500])
@pytest.mark.parametrize(("parallel", "found"), [(True, ["tea", "milk"]), (False, ["tea"])])
def test_an_answer_has_one_call_if_calls_may_not_be_parallel(
    size: int, parallel: bool, found: list[str]
) -> None:
    call = '<tool_call>{{"name": "price", "arguments": {{"of": "{}"}}}}</tool_call>'
    text = f"Look: {call.format('tea')}\n{call.format('milk')} That was it."
    speaker = Speaker(text, size)
    pieces = said(speaker, AnswerForm(parallel_calls=parallel))
    calls = [call for piece in pieces for call in piece.calls]
    assert [json.loads(call.arguments)["of"] for call in calls] == found
    assert pieces[-1].finish == "stop"
    expected = "Look:  That was it." if parallel else "Look: "
    assert "".join(piece.text for piece in pieces) == expected
    assert speaker.closed


def test_without_a_demand_any_text_is_an_answer(engine: LocalEngine) -> None:
    pieces = answer(engine, asked(PRICE), AnswerForm())
    assert sum(piece.tokens for piece in pieces) > 0


def test_a_wrong_format_is_an_error_of_its_call(engine: LocalEngine) -> None:
    wrong = AnswerForm(format=JsonSchema('{"type": "colour"}'))
    with pytest.raises(Unsupported, match="format of the answer is not supported"):
        answer(engine, conversation(), wrong)
    assert answer(engine, conversation(), AnswerForm(format=SCHEMA))


def test_log_probabilities_need_a_server(engine: LocalEngine) -> None:
    assert "need a served target" in problem(engine, conversation(), AnswerForm(top_logprobs=1))


def test_a_model_whose_template_shows_no_calls_says_so(folders: dict[str, Path]) -> None:
    async def ask() -> Any:
        async with LocalEngine(str(folders["qwen3"])) as engine:
            await engine.form_problem(asked(PRICE), AnswerForm())

    with pytest.raises(Unsupported, match="does not show calls as JSON"):
        asyncio.run(ask())
