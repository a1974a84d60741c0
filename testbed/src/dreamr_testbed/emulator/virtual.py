"""Emulated servers in virtual time: the same requests and responses, without waiting.

The event loop's clock jumps to the end of each wait, so that the seconds of a run are those of the
emulated models alone, on any machine. The servers are called in the process of the client.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar
from unittest.mock import patch

import httpx2
from starlette.types import ASGIApp, Message

_Result = TypeVar("_Result")


class _Jumping(selectors.SelectSelector):
    """A selector that does not wait: its clock jumps to the end of each wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        # Without a timer, only another thread can wake the loop.
        return super().select(None if timeout is None else 0)


def run_virtual(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end in an event loop with virtual time, and return its result.

    Meanwhile `time.monotonic` and `time.perf_counter` give the virtual time in seconds, so traces
    have it too. Work in other threads takes no virtual time, and time may jump over it.
    """
    selector = _Jumping()

    def clock() -> float:
        return selector.now

    def loop() -> asyncio.AbstractEventLoop:
        made = asyncio.SelectorEventLoop(selector)
        setattr(made, "time", clock)  # noqa: B010
        return made

    with (
        patch.object(time, "monotonic", clock),
        patch.object(time, "perf_counter", clock),
        asyncio.Runner(loop_factory=loop) as runner,
    ):
        return runner.run(main)


class _Body(httpx2.AsyncByteStream):
    """The body of a response, as the application sends it.

    Args:
        chunks: Parts of the body; None at the end.
        task: The call of the application.
        left: Set when the client leaves.
        latency: Seconds from the application to the client.
    """

    def __init__(
        self,
        chunks: asyncio.Queue[tuple[float, bytes] | None],
        task: asyncio.Task[None],
        left: asyncio.Event,
        latency: float,
    ) -> None:
        self._chunks, self._task, self._left, self._latency = chunks, task, left, latency

    async def __aiter__(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        while (chunk := await self._chunks.get()) is not None:
            sent, data = chunk
            if (wait := sent + self._latency - clock()) > 0:
                await asyncio.sleep(wait)
            yield data
        await self._task

    async def aclose(self) -> None:
        self._left.set()
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class VirtualTransport(httpx2.AsyncBaseTransport):
    """Calls an application in the same process, and streams its responses.

    Args:
        app: The application.
        latency: Seconds between client and server, one way.
    """

    def __init__(self, app: ASGIApp, latency: float = 0.0) -> None:
        self._app, self._latency = app, latency

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the application's response to a request."""
        body = await request.aread()
        await asyncio.sleep(self._latency)
        begun: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        chunks: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        left = asyncio.Event()
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if unread:
                return unread.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.set_result(message)
            elif data := message.get("body", b""):
                chunks.put_nowait((asyncio.get_running_loop().time(), data))

        async def call() -> None:
            try:
                await self._app(_scope(request), receive, send)
            finally:
                chunks.put_nowait(None)

        task = asyncio.create_task(call())
        stream = _Body(chunks, task, left, self._latency)
        try:
            first: list[asyncio.Future[Any]] = [begun, task]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await stream.aclose()
            raise
        if not begun.done():
            await task  # raises what ended the application
        started = begun.result()
        return httpx2.Response(started["status"], headers=started["headers"], stream=stream)


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 1),
    }
