"""Runs over a scripted pair: tea and milk, with two drafted steps that are right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio

from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import ScriptedEngine
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import (
    Event,
    Note,
    Result,
)

TALK = Conversation((Turn("user", (Text("What do tea and milk cost?"),)),))
TARGET = ["Tea costs 2.\n\n", "Milk costs 1.\n\n", "Two and one is three.\n\n", "Answer: 3"]
DRAFT = ["Tea is 2.\n\n", "Milk is 1.\n\n", "That is 4.\n\n", "Answer: 4"]
OPINION = {DRAFT[0]: 0.9, DRAFT[1]: 0.8}  # the rest is wrong
METHODS = ["sequential", "fpsr"]
INF = math.inf


def target(**values: Any) -> ScriptedEngine:
    return ScriptedEngine(**{"script": TARGET, "opinion": OPINION, "name": "big", **values})


def draft(**values: Any) -> ScriptedEngine:
    return ScriptedEngine(**{"script": DRAFT, "name": "small", **values})


def go(
    big: ScriptedEngine,
    small: ScriptedEngine | None = None,
    method: str = "fpsr",
    conversation: Conversation = TALK,
    on_event: Callable[[Event], None] | None = None,
    **values: Any,
) -> Result:
    values.setdefault("options", ScheduleConfig(deterministic=True))
    settings = RunConfig(method=method, **values)

    async def main() -> Result:
        with anyio.fail_after(20):
            return await run(
                conversation, target=big, draft=small, config=settings, on_event=on_event
            )

    try:
        return anyio.run(main)
    finally:
        assert big.open_streams == 0
        assert small is None or small.open_streams == 0


def texts(result: Result) -> list[str]:
    return [committed.step.text for committed in result.steps]


def notes(result: Result) -> str:
    return "; ".join(event.message for event in result.events if isinstance(event, Note))
