"""The gateway with the bundled pair: concurrent requests get the same answers as single ones."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import anyio
import pytest
from dreamr_testbed.suites import SUITES

from dreamr import Reasoner, RunOptions
from dreamr.conversation import Image, Text, thumbnail
from dreamr.evaluation.tasks import Item, load
from support.gateways import CHAT, Answer, Gateway, app_of


def asked(item: Item, **more: Any) -> dict[str, Any]:
    content = []
    for part in item.conversation.turns[-1].parts:
        if isinstance(part, Image):
            url = "data:image/png;base64," + b64encode(thumbnail(part)).decode()
            content.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
    messages = [{"role": "user", "content": content}]
    return {"model": "dreamr", "messages": messages, **more}


@pytest.mark.slow
def test_interleaved_requests_get_what_each_gets_alone() -> None:
    items = [item for task in SUITES for item in load(task, limit=2, seed=77)]

    async def main() -> tuple[dict[int, str], dict[int, str]]:
        options = RunOptions(deterministic=True)
        async with Reasoner(options) as reasoner:
            app = app_of(reasoner)
            gate = Gateway(app, reasoner, None, None)  # type: ignore[arg-type]

            async def text(number: int, found: dict[int, str]) -> None:
                answer: Answer = await gate.ask(asked(items[number]), CHAT)
                message = answer.json["choices"][0]["message"]
                found[number] = message["reasoning"] + message["content"]

            alone: dict[int, str] = {}
            for number, item in enumerate(items):
                await text(number, alone)
                for model in reasoner.models.values():
                    model.engine.forget(item.conversation)
            together: dict[int, str] = {}
            async with anyio.create_task_group() as tasks:
                for number in range(len(items)):
                    tasks.start_soon(text, number, together)
            return alone, together

    alone, together = anyio.run(main)
    assert together == alone
    assert len(set(alone.values())) > len(items) // 2
