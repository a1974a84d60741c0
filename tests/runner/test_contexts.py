"""Contexts that are full: the draft's ends drafting, the target's ends the run with its name."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Capabilities, Chunk, Context, SamplingParams, ScriptedEngine
from dreamr.errors import ContextTooLong, RunFailed
from dreamr.runner import RunConfig, run
from dreamr.schedules import METHODS, method
from dreamr.trace import Note, Result

TALK = Conversation.from_prompt("?")
TEXT = "".join(f"Step {word} is here.\n\n" for word in "abcdefgh") + "Answer: 8"


class Bounded(ScriptedEngine):
    """A scripted engine whose context holds `room` words of the assistant's text."""

    room = 10

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        left = self.room - len(list(self.tokenize("".join(context.prefix))))
        if left <= 0:
            raise ContextTooLong("the text needs more tokens than the context holds")
        async for chunk in super().stream(context, sampling):
            left -= chunk.tokens
            if left == 0 and chunk.finish is None:
                yield Chunk(chunk.text, chunk.tokens, "length")
                return
            yield chunk


def result_of(name: str, target: ScriptedEngine, draft: ScriptedEngine) -> tuple[Result, list[str]]:
    async def main() -> Result:
        return await run(TALK, target=target, draft=draft, config=RunConfig(method=name))

    result = anyio.run(main)
    return result, [event.message for event in result.events if isinstance(event, Note)]


@pytest.mark.parametrize("name", sorted(n for n in METHODS if len(method(n).roles) == 2))
def test_a_draft_whose_context_is_full_stops_and_the_target_goes_on(name: str) -> None:
    result, notes = result_of(name, ScriptedEngine(script=TEXT), Bounded(script=TEXT))
    assert result.text == TEXT
    assert result.complete
    (note,) = [note for note in notes if "the context of the draft is full" in note]
    assert "the target continues alone" in note
    assert not any("draft failed" in note or "draft was lost" in note for note in notes)


@pytest.mark.parametrize("name", ["target", "fpsr", "sequential", "parse"])
def test_a_target_whose_context_is_full_ends_the_run_and_the_note_names_it(name: str) -> None:
    target = Bounded(script=TEXT, capabilities=Capabilities(context=10), opinion=0.0)
    result, notes = result_of(name, target, ScriptedEngine(script=TEXT))
    assert result.finish == "length"
    assert result.error is None
    assert result.text
    assert any(note.startswith("the context of the target is full") for note in notes)


def test_a_prompt_that_leaves_no_room_is_an_error() -> None:
    target = Bounded(script="One.")
    target.room = 0

    async def main() -> Result:
        return await run(TALK, target=target, config=RunConfig(method="target"))

    with pytest.raises(RunFailed, match="more tokens than the context holds"):
        anyio.run(main)
