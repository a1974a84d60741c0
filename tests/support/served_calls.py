"""Calls of an HTTP engine to a scripted server: open the engine, call it, close it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import anyio
import httpx2

from dreamr.conversation import Conversation
from dreamr.engines import Chunk, Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions

TALK = Conversation.from_prompt("What is 2 + 2?")
SCRIPT = "Two and two.\n\nThat makes four.\n\nAnswer: 4"
Found = TypeVar("Found")


class Reachable(Protocol):
    """A scripted server."""

    @property
    def transport(self) -> httpx2.AsyncBaseTransport: ...


def use(served: Reachable, work: Callable[[HttpEngine], Awaitable[Found]], **options: Any) -> Found:
    async def main() -> Found:
        given = HttpOptions(url="http://here", **options)
        async with await HttpEngine.open(given, served.transport) as engine:
            return await work(engine)

    return anyio.run(main)


def read(served: Reachable, *prefix: str, options: Any = None, **sampling: Any) -> list[Chunk]:
    async def work(engine: HttpEngine) -> list[Chunk]:
        stream = engine.stream(Context(TALK, prefix), SamplingParams(**sampling))
        return [chunk async for chunk in stream]

    return use(served, work, **(options or {}))


async def written(
    engine: HttpEngine, talk: Conversation = TALK, *prefix: str, **sampling: Any
) -> str:
    """Return what a model writes after a prefix."""
    params = SamplingParams(**sampling)
    chunks = [chunk async for chunk in engine.stream(Context(talk, prefix), params)]
    assert sum(chunk.tokens for chunk in chunks) <= params.max_tokens
    return text(chunks)


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)
