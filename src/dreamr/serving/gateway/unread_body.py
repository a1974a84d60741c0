"""Responses that arrive although the request was not read to its end."""

from __future__ import annotations

from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_SECONDS = 30.0
_IDLE_SECONDS = 5.0
_DRAIN_BYTES = 2**28


class DrainBody:
    """Middleware that reads and drops the rest of a body, within bounds, before the end.

    If a connection is closed while data arrives, the client gets a reset and may lose the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not _sends_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True

        async def receive_noting() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def drain() -> None:
            left = _DRAIN_BYTES
            with anyio.move_on_after(DRAIN_SECONDS):
                while unread and left > 0:
                    message: dict[str, Any] = {}
                    with anyio.move_on_after(_IDLE_SECONDS):
                        message = dict(await receive_noting())
                    left -= len(message.get("body", b"")) if message else left

        async def send_draining(message: Message) -> None:
            if not unread:
                await send(message)
            elif message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                await send({**message, "headers": headers})
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await drain()
                await send({"type": "http.response.body", "body": b""})

        await self._app(scope, receive_noting, send_draining)


def _sends_body(scope: Scope) -> bool:
    """Return whether the client sends a body without waiting for permission."""
    headers = dict(scope["headers"])
    if b"expect" in headers:
        return False
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
