"""Requests with images, from their bytes to a run."""

from __future__ import annotations

import io
import math
import tracemalloc
from base64 import b64encode
from functools import partial
from typing import Any

import anyio
import PIL.Image

from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.options import ServeOptions
from support.gateways import QUESTION, Gateway, Json, answer, asked, use
from support.pairs import Pair


def png_of(width: int, height: int) -> str:
    file = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(file, "PNG")
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()


def pictured(*urls: str) -> Json:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return asked([*images, {"type": "text", "text": QUESTION}])


def test_images_are_decoded_after_admission() -> None:
    decoded = list[int]()

    class Media(MediaFetcher):
        async def decode(self, messages: Any) -> Any:
            decoded.append(len(messages))
            return await super().decode(messages)

    async def work(gate: Gateway) -> None:
        leave = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(gate.ask, asked(), leave=leave))
            await anyio.wait_all_tasks_blocked()
            decoded.clear()
            waiting = partial(gate.ask, pictured(png_of(3, 2)), leave=leave, client="10.0.0.2")
            tasks.start_soon(waiting)
            bad = await gate.ask(pictured("data:image/png;base64,aGVsbG8="))
            assert bad.status == 400  # checked before admission
            assert not decoded
            leave.set()

    endless = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})
    use(work, endless, media=Media(ServeOptions()), max_running=1)


def test_images_of_all_requests_share_a_number_of_pixels() -> None:
    async def work(gate: Gateway) -> None:
        too_many = await gate.ask(pictured(*[png_of(40, 40)] * 3))
        assert too_many.status == 400
        assert "together" in too_many.json["error"]["message"]
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(ask, gate, pictured(*[png_of(40, 40)] * 2))

    async def ask(gate: Gateway, body: Json) -> None:
        assert (await gate.ask(body)).status == 200

    use(work, max_total_pixels=4000)


def test_a_huge_image_is_answered_with_little_memory() -> None:
    tracemalloc.start()
    try:
        found = answer(pictured(*[png_of(8000, 8000)] * 2))
        assert found.status == 200
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
