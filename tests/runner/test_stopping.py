"""Stop texts end a run, whichever model writes them, and are not part of its text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreamr.answers import PLAIN, AnswerForm, AnswerPiece, CallDelta, JsonObject, TokenLogprob
from dreamr.conversation import Conversation, Tool
from dreamr.engines import AnsweringEngine, Chunk, Context, ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.runner.stopping import StopSearch, until_stop
from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import AnswerExtended, Result

TALK = Conversation.from_prompt("?")
STEPS = ["One and one.\n\n", "Two and END three.\n\n", "Answer: 3"]


def result_of(stop: tuple[str, ...], method: str = "fpsr", **more: object) -> Result:
    text = more.pop("text", STEPS)
    config = RunConfig(method=method, stop=stop, **more)  # type: ignore[arg-type]
    engines = [ScriptedEngine(script=text, name=name) for name in "td"]  # type: ignore[arg-type]

    async def main() -> Result:
        return await run(TALK, target=engines[0], draft=engines[1], config=config)

    return anyio.run(main)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (" END", "One and one.\n\nTwo and"),
        ("one.\n\nTwo", "One and "),  # begins in one step and ends in the next
        ("\n\nTwo and", "One and one."),
        ("One", ""),
        ("NEVER", "".join(STEPS)),
    ],
)
def test_a_stop_text_ends_every_method(method: str, stop: str, text: str) -> None:
    result = result_of((stop,), method, text="".join(STEPS))
    assert result.text == text
    marked = stop == "NEVER" and method != "token-sd"  # which commits pieces of steps
    assert result.finish == ("answer" if marked else "stop")
    assert result.error is None


def test_a_stop_text_in_the_answer_ends_the_answer() -> None:
    result = result_of((" or",), text=["Answer: 3 or 4"])
    assert result.answer == "3"
    assert result.finish == "answer"


def test_a_stop_text_inside_a_thought_has_no_effect() -> None:
    text = "<think>\nIt may END here.\n</think>\n\nIt does END here."
    result = result_of(("END",), text=text)
    assert result.text == text.rpartition("END")[0]
    opened = text.removeprefix("<think>\n")
    step_format = StepFormat(opens_thought=True)
    assert result_of(("END",), text=opened, step_format=step_format).text.endswith("It does ")


def test_a_stop_text_in_a_rejected_step_has_no_effect() -> None:
    target = ScriptedEngine(script=["One.\n\n", "Answer: 1"], opinion=0.0)
    draft = ScriptedEngine(script=["One END two.\n\n", "Answer: 2"])
    config = RunConfig(stop=("END",), options=ScheduleConfig(deterministic=True))

    async def main() -> Result:
        return await run(TALK, target=target, draft=draft, config=config)

    assert anyio.run(main).text == "One.\n\nAnswer: 1"


JSON = AnswerForm(format=JsonObject())
FORMED = sorted(set(METHODS) - {"draft"})


def formed(
    stop: tuple[str, ...],
    answers: list[AnswerPiece],
    method: str = "fpsr",
    form: AnswerForm = JSON,
    text: str = "".join(STEPS),
    drafted: str | None = None,
    tools: tuple[Tool, ...] = (),
) -> tuple[Result, AnsweringEngine]:
    """Return the result of a run whose answer has a form, and its target."""
    big = AnsweringEngine(script=text, name="t", answers=answers)
    small = ScriptedEngine(script=text if drafted is None else drafted, name="d")
    config = RunConfig(method=method, stop=stop, answer_form=form)
    talk = replace(TALK, tools=tools)

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(talk, target=big, draft=small, config=config)

    return anyio.run(main), big


@pytest.mark.parametrize("method", FORMED)
@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (" END", "One and one.\n\nTwo and"),
        ("one.\n\nTwo", "One and "),
        ("\n\nTwo and", "One and one."),
        ("One", ""),
    ],
)
def test_a_stop_text_in_the_reasoning_ends_a_run_for_an_answer_in_a_form(
    method: str, stop: str, text: str
) -> None:
    result, target = formed((stop,), [AnswerPiece("{}", tokens=1)], method)
    assert (result.text, result.finish, result.error) == (text, "stop", None)
    assert not target.answered


@pytest.mark.parametrize("method", FORMED)
def test_a_stop_text_that_only_the_draft_wrote_does_not_end_the_run(method: str) -> None:
    drafted = "One and one.\n\nTwo and END"
    text = "One and one.\n\nTwo and three.\n\nAnswer: 3"
    pieces = [AnswerPiece("{}", tokens=1)]
    result, _ = formed(("END",), pieces, method, text=text, drafted=drafted)
    assert result.text.startswith("One and one.\n\nTwo and three.\n\n")
    assert (result.answer, result.finish) == ("{}", "answer")


@pytest.mark.parametrize(
    ("stop", "answer"),
    [("END", '{"a": '), ('"', "{"), ("NEVER", '{"a": END 3}'), ("3}4", '{"a": END 3}')],
)
@pytest.mark.parametrize("text", ["", "".join(STEPS).replace("END", "")])
def test_a_stop_text_ends_an_answer_in_a_form(stop: str, answer: str, text: str) -> None:
    pieces = [AnswerPiece(piece, tokens=1) for piece in ("\n", '{"a"', ": E", "ND", " 3}")]
    result, target = formed((stop,), pieces, text=text)
    shown = [event.text for event in result.events if isinstance(event, AnswerExtended)]
    assert "".join(shown).strip() == result.answer == answer.strip()
    assert result.finish == "answer"
    assert target.open_streams == 0


def test_log_probabilities_end_where_a_stop_text_begins() -> None:
    tokens = [TokenLogprob(text, -1.0) for text in ("Two", " E", "ND", " three")]
    pieces = [AnswerPiece(token.token, tokens=1, logprobs=(token,)) for token in tokens]
    form = AnswerForm(top_logprobs=0)
    assert formed((" END",), pieces, form=form, text="")[0].answer_logprobs == tuple(tokens[:1])
    assert formed(("NEVER",), pieces, form=form, text="")[0].answer_logprobs == tuple(tokens)


def test_a_stop_text_in_a_call_has_no_effect() -> None:
    call = AnswerPiece(calls=(CallDelta(0, '{"END": 1}', "a", "add"),), tokens=3)
    result, _ = formed(("END",), [call], form=PLAIN, text="One.", tools=(Tool("add"),))
    assert [made.arguments for made in result.calls] == ['{"END": 1}']


@given(
    st.text("ab<", max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.text("ab<", max_size=4), max_size=8),
)
@example("a", ["ab"], ["", "b"])
def test_the_text_before_the_first_stop_text_is_kept_however_it_arrives(
    before: str, stops: list[str], pieces: list[str]
) -> None:
    async def stream() -> AsyncGenerator[Chunk, None]:
        for piece in pieces:
            yield Chunk(piece, 1)
        yield Chunk("", 0, "length")

    async def main() -> tuple[str, str | None, int, int]:
        search = StopSearch(tuple(stops), before, opened=False)
        chunks = [chunk async for chunk in until_stop(stream(), search)]
        tokens = sum(chunk.tokens for chunk in chunks)
        return "".join(c.text for c in chunks), chunks[-1].finish, search.overlap, tokens

    text, finish, overlap, tokens = anyio.run(main)
    whole = before + "".join(pieces)
    # Those that end before the stream were committed on purpose.
    places = [
        place
        for stop in stops
        for place in range(max(0, len(before) - len(stop) + 1), len(whole))
        if whole.startswith(stop, place) and place + len(stop) > len(before)
    ]
    assert tokens <= len(pieces)
    if not places:
        assert (text, finish, tokens) == ("".join(pieces), "length", len(pieces))
        return
    assert finish == "stop"
    assert (before + text)[: len(before) + len(text) - overlap] in {whole[:p] for p in places}


def test_a_chunk_keeps_all_that_is_known_of_its_tokens() -> None:
    async def stream() -> AsyncGenerator[Chunk, None]:
        for number, piece in enumerate(["One ", "E", "N", "d"]):
            yield Chunk(piece, 1, None, -1.0 - number, -1.0 - number, entropy=0.1 * number)

    async def main() -> list[Chunk]:
        search = StopSearch(("END",), "", opened=False)
        return [chunk async for chunk in until_stop(stream(), search)]

    first, second = anyio.run(main)
    assert first == Chunk("One ", 1, None, -1.0, -1.0, 0.0)
    assert second == Chunk("ENd", 3, None, -9.0, -4.0, 0.1)


def test_the_context_of_a_stream_is_the_whole_text_before_it() -> None:
    seen: list[Context] = []

    def script(context: Context) -> str:
        seen.append(context)
        return "".join(STEPS)[len("".join(context.prefix)) :]

    assert result_of(("NEVER",), text=script).text == "".join(STEPS)
    assert seen
