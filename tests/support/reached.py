"""Calls of an HTTP engine to servers on real sockets: what the model writes, or the error."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import EngineError, EngineLost

TALK = Conversation.from_prompt("What is 2 + 2?")
SCRIPT = "Two and two.\n\nAnswer: 4"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def answer(url: str, **options: Any) -> str:
    """The text that the server's model writes."""

    async def main() -> str:
        async with await HttpEngine.open(HttpOptions(url=url, **options)) as engine:
            stream = engine.stream(Context(TALK), SamplingParams())
            return "".join([chunk.text async for chunk in stream])

    return anyio.run(main)


def failure(url: str, kind: type[EngineError] = EngineLost, **options: Any) -> str:
    with pytest.raises(kind) as found:
        answer(url, **{"retries": 0, **options})
    message = str(found.value)
    assert message.isprintable()
    assert len(message) < 500
    return message
