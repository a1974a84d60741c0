"""The gateway as an application of another server, which runs its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from uvicorn.lifespan.on import LifespanOn

from dreamr import RunOptions
from dreamr.serving.deploy.hosted import hosted_app
from dreamr.serving.options import ServeOptions
from support.gateways import CHAT, asked
from support.pairs import Pair

BASE = "http://127.0.0.1:8500"


@asynccontextmanager
async def started(pair: Pair) -> AsyncIterator[Starlette]:
    pairs = {"dreamr": RunOptions(load_aware=False)}
    app = hosted_app(pairs, ServeOptions(host="0.0.0.0"), open_model=pair)
    lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
    await lifespan.startup()
    assert not lifespan.should_exit
    yield app
    await lifespan.shutdown()


def client(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE)


def test_models_open_with_the_application_and_close_with_it() -> None:
    pair = Pair()

    async def work() -> None:
        async with started(pair) as app, client(app) as http:
            assert set(pair.opened) == {"target", "draft"}
            assert all(engine.alive for engine in pair.opened.values())
            found = await http.post(CHAT, json=asked())
            assert found.json()["choices"][0]["message"]["content"] == "3.70"
            assert (await http.get("/ready")).json()["status"] == "ready"
            assert (await http.get("/v1/batches")).status_code == 200
        assert not any(engine.alive for engine in pair.opened.values())

    anyio.run(work)


def test_a_pair_whose_model_cannot_be_opened_does_not_start() -> None:
    pair = Pair(errors={"target": RuntimeError("no such model")})
    pairs = {"dreamr": RunOptions()}
    app = hosted_app(pairs, ServeOptions(host="0.0.0.0"), open_model=pair)

    async def work() -> None:
        lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
        await lifespan.startup()
        assert lifespan.should_exit

    anyio.run(work)


def test_a_store_that_can_never_be_used_does_not_start() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            options = ServeOptions(store=f"redis://127.0.0.1:{port}/0")
            app = hosted_app({"dreamr": RunOptions()}, options, open_model=Pair())
            lifespan = LifespanOn(uvicorn.Config(app, lifespan="on", log_config=None))
            await lifespan.startup()
            assert lifespan.should_exit

    anyio.run(work)


def test_a_request_that_the_server_cancels_frees_the_models() -> None:
    pair = Pair(target={"token_seconds": 0.01}, draft={"token_seconds": 0.01})
    sent: list[dict[str, Any]] = []

    async def work() -> None:
        async with started(pair) as app:
            begun = anyio.Event()
            body = iter([httpx2.Request("POST", BASE, json=asked(stream=True)).content])

            async def receive() -> dict[str, Any]:
                if (piece := next(body, None)) is not None:
                    return {"type": "http.request", "body": piece, "more_body": False}
                await anyio.sleep_forever()
                raise AssertionError

            async def send(message: Any) -> None:
                sent.append(message)
                begun.set()

            scope = {
                "type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(),
                "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
                "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
                "client": ("10.0.0.1", 1), "server": ("127.0.0.1", 8500),
            }  # fmt: skip
            task = asyncio.get_running_loop().create_task(app(scope, receive, send))
            await begun.wait()
            assert any(engine.open_streams for engine in pair.opened.values())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not any(engine.open_streams for engine in pair.opened.values())

    anyio.run(work)
