from __future__ import annotations

from dataclasses import replace

import pytest

from dreamr.conversation import (
    BadConversation,
    Conversation,
    Document,
    Image,
    Page,
    Text,
    Tool,
    ToolCall,
    Turn,
    flatten,
)

DOT = Image(b"\0\0\0", 1, 1)
ASKED = Turn("user", (Text("How warm is it?"),))
CALLED = Turn("assistant", (), (ToolCall("a", "weather", "{}"),), reasoning="Look it up.")
RESULT = Turn("tool", (Text("21 degrees"), DOT), call_id="a")
LOOP = Conversation((ASKED, CALLED, RESULT), (Tool("weather"),))


def test_a_conversation_may_end_with_the_result_of_a_call() -> None:
    LOOP.check()
    assert LOOP.images == (DOT,)
    assert replace(LOOP, turns=(ASKED, CALLED, replace(RESULT, parts=()))).check() is None


def test_tools_calls_and_thoughts_distinguish_conversations() -> None:
    others = (
        replace(LOOP, tools=()),
        replace(LOOP, turns=(ASKED, replace(CALLED, reasoning=""), RESULT)),
        replace(LOOP, turns=(ASKED, replace(CALLED, calls=()), RESULT)),
    )
    assert len({LOOP, *others}) == 4


def test_flattening_keeps_tools_calls_and_their_results() -> None:
    pages = Document((Page(1, DOT),), 1)
    turns = (ASKED, CALLED, replace(RESULT, parts=(pages,)))
    flat = flatten(replace(LOOP, turns=turns))
    assert flat.tools == LOOP.tools
    assert flat.turns[1] == CALLED
    assert flat.turns[2].call_id == "a"
    assert flat.images == (DOT,)


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        (replace(LOOP, turns=(ASKED, RESULT)), "no such call before it"),
        (replace(LOOP, turns=(replace(ASKED, calls=CALLED.calls),)), "only assistants do"),
        (replace(LOOP, turns=(ASKED, CALLED)), "the result of a call"),
        (replace(LOOP, tools=(Tool("a"), Tool("a"))), "two tools have the same name"),
        (replace(LOOP, tools=(Tool(""),)), "has no name"),
        (replace(LOOP, tools=(Tool("a", "\ud83d"),)), "half of a character"),
        (replace(LOOP, turns=(ASKED, replace(CALLED, reasoning="\udc00"), RESULT)), "half of"),
        (replace(LOOP, tools=(Tool("a", parameters="{"),)), "not JSON text"),
        (replace(LOOP, tools=(Tool("a", parameters="[]"),)), "not an object"),
    ],
)
def test_calls_results_and_tools_must_fit_together(
    conversation: Conversation, message: str
) -> None:
    with pytest.raises(BadConversation, match=message):
        conversation.check()


@pytest.mark.parametrize("value", ["1e999", "NaN", '"\\ud800"', "[" * 200_000])
def test_parameters_that_cannot_be_sent_are_refused(value: str) -> None:
    tool = Tool("weather", parameters=f'{{"type": "object", "maximum": {value}}}')
    with pytest.raises(BadConversation, match="parameters of tool weather are not JSON text"):
        replace(LOOP, tools=(tool,)).check()
