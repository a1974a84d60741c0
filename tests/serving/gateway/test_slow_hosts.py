"""Hosts of attachments that do not answer: requests end at deadlines, or when clients leave."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.options import ServeOptions
from support.attachments import png
from support.gateways import CHAT, QUESTION, Answer, Gateway, Json, app_of, asked, use
from support.pairs import Pair
from support.virtual_time import run_virtual

URL = "https://pics.example/a.png"


class SilentHost:
    """A host that stops answering, and counts the requests that wait for it."""

    def __init__(self, answered: int = 0) -> None:
        self.answered = answered
        self.asked = self.waiting = 0
        self.contacted = anyio.Event()

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if self.asked <= self.answered:
            return httpx2.Response(200, stream=httpx2.ByteStream(png()))
        self.waiting += 1
        self.contacted.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.waiting -= 1
        raise AssertionError

    async def resolve(self, host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    def media(self) -> MediaFetcher:
        limits = ServeOptions(allowed_media_domains="pics.example")
        return MediaFetcher(
            limits, resolve=self.resolve, transport=httpx2.MockTransport(self.answer)
        )


def chat(**more: Any) -> Json:
    image = {"type": "image_url", "image_url": {"url": URL}}
    return asked([image, image, {"type": "text", "text": QUESTION}], **more)


def response(**more: Any) -> Json:
    image = {"type": "input_image", "image_url": URL}
    content = [image, image, {"type": "input_text", "text": QUESTION}]
    return {"model": "dreamr", "input": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, chat()), ("/v1/responses", response())], ids=["chat", "responses"]
)
def test_a_deadline_holds_while_images_are_fetched(path: str, body: Json, stream: bool) -> None:
    host = SilentHost()

    async def work(gate: Gateway) -> None:
        found = await gate.ask({**body, "stream": stream, "dreamr": {"deadline": 0.1}}, path)
        assert found.status == 504
        assert found.json["error"]["code"] == "deadline_exceeded"
        assert (host.asked, host.waiting) == (1, 0)

    use(work, media=host.media(), run=run_virtual)


def test_a_deadline_in_a_header_holds_while_images_are_fetched() -> None:
    async def work(gate: Gateway) -> Answer:
        return await gate.ask(chat(), dreamr_deadline="0.1")

    assert use(work, media=SilentHost().media(), run=run_virtual).status == 504


def test_the_deadline_of_a_response_in_the_background_holds_while_images_are_fetched() -> None:
    host = SilentHost(answered=2)  # those of the request, before its run begins

    async def main() -> None:
        pair = Pair()
        async with Reasoner(RunOptions(deterministic=True), open_model=pair) as reasoner:
            app = app_of(reasoner, media=host.media())
            gate = Gateway(app, reasoner, pair, Load(aware=False))
            lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
            await lifespan.startup()
            body = response(background=True, dreamr={"deadline": 0.1})
            begun = (await gate.ask(body, "/v1/responses")).json
            with anyio.fail_after(5):
                while (found := await status(gate, begun["id"])) in ("queued", "in_progress"):
                    await anyio.sleep(0.05)
            assert found == "failed"
            assert (host.asked, host.waiting) == (3, 0)
            await lifespan.shutdown()

    run_virtual(main)


async def status(gate: Gateway, name: str) -> str:
    return str((await gate.get(f"/v1/responses/{name}")).json["status"])


def test_a_client_that_leaves_while_images_are_fetched_frees_what_it_held() -> None:
    host = SilentHost()

    async def work(gate: Gateway) -> None:
        leave = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(gate.ask, chat(), leave=leave))
            await host.contacted.wait()
            leave.set()
        assert (host.asked, host.waiting) == (1, 0)
        figures = (await gate.get("/metrics")).body.decode()
        assert 'dreamr:request_failure_total{status="499"} 1.0' in figures

    use(work, media=host.media(), bound=5)
