"""Calls of an HTTP engine to a real server, which the conformance tests share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from dreamr.conversation import Conversation, Part, Text, Turn
from dreamr.engines import Context, Engine, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions

Served: TypeAlias = tuple[str, str]  # a family of models, and the address of one of them


def asked(*parts: Part, question: str = "How many?") -> Conversation:
    """Return a question about attachments."""
    return Conversation((Turn("user", (*parts, Text(question))),))


async def written(engine: Engine, context: Context, tokens: int) -> str:
    """Return what a model writes, at most a number of tokens."""
    stream = engine.stream(context, SamplingParams(max_tokens=tokens))
    return "".join([chunk.text async for chunk in stream])


async def continue_and_judge(
    url: str, talks: Sequence[Conversation], steps: tuple[str, str]
) -> None:
    """Check that a text goes on where it was cut, and that a step after another is judged."""
    async with await HttpEngine.open(HttpOptions(url=url)) as engine:
        for talk in talks:
            whole = await written(engine, Context(talk), 24)
            begun = await written(engine, Context(talk), 8)
            assert begun + await written(engine, Context(talk, (begun,)), 16) == whole
            [evidence] = await engine.judge(Context(talk, steps[:1]), steps[1:])
            assert 0 <= evidence.ratio <= 1
