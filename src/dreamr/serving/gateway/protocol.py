"""HTTP protocol of uvicorn with limits on time, headers and connections, and errors as JSON."""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from dreamr.serving.gateway.errors import SERVER, ApiError
from dreamr.serving.gateway.request_ids import HEADER, RequestIds, new_request_id
from dreamr.serving.gateway.unread_body import DrainBody

HEAD_SECONDS = 30.0  # time limit for the headers of a request
HEAD_BYTES = 2**16  # most bytes of the headers
WRITE_SECONDS = 60.0  # longest time, about, in which a client may read nothing
LINGER_SECONDS = 5.0  # how long the rest of a broken request is read and dropped
_SPARE_CONNECTIONS = 64  # beyond the limit: they get an answer; more are closed at once
_RETRY_AFTER = 5  # seconds
_ALWAYS_OPEN = ("/health", "/ready", "/metrics")  # answered beyond the limit too

_Base: Any = AutoHTTPProtocol  # httptools or h11, whichever is installed


class GatewayProtocol(_Base):  # type: ignore[misc]
    """Protocol for clients that are slow, silent or broken.

    uvicorn itself limits only the idle time between two requests. The state of a request holds the
    time of its first byte: `began`, of `time.perf_counter`.

    Attributes:
        max_connections: Connections at the same time; requests on others get status 503.
    """

    max_connections = 512

    app: ASGIApp
    _head_timeout: asyncio.TimerHandle | None = None
    _write_check: asyncio.TimerHandle | None = None
    _linger: asyncio.TimerHandle | None = None
    _began: float | None = None  # when the head that is arriving began
    _head = 0  # bytes of it

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timeouts, or refuse the connection."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections + _SPARE_CONNECTIONS:
            transport.abort()
            return
        if len(self.connections) > self.max_connections:
            self.app = DrainBody(_Busy(self.app))
        self._start_timeout()
        self._check_writing(0)

    def data_received(self, data: bytes) -> None:
        """Note when a request begins, and limit the size of its head."""
        if self._linger is not None:
            return
        before = self.cycle
        between = before is None or before.response_complete
        if between:
            self._head += len(data)
            if self._began is None:
                self._began = time.perf_counter()
                self._start_timeout()
        super().data_received(data)
        if self.cycle is not before:
            self.scope["state"]["began"] = self._began
            target = getattr(self, "url", b"")  # httptools leaves the host out of the path
            if b"://" in target.partition(b"?")[0]:
                self.scope["raw_path"] = target
            self._began, self._head = None, 0
            self._stop_timeout()
        elif between and self._head > HEAD_BYTES and self._linger is None:
            self.send_400_response("")

    def eof_received(self) -> None:
        """Close the connection if only the client's end of input was awaited."""
        if self._linger is not None:
            self.transport.close()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeouts."""
        super().connection_lost(exc)
        self._stop_timeout()
        for timer in (self._write_check, self._linger):
            if timer is not None:
                timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in the format of OpenAI's API."""
        if self._head > HEAD_BYTES:
            self._refuse(
                431, f"the headers of the request have more than {HEAD_BYTES:,} bytes: shorten them"
            )
        else:
            self._refuse(400, "the request is not valid HTTP: check the client")

    def _refuse(self, status: int, message: str) -> None:
        """Send an error and close the connection once the client has had time to read it."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            started, cycle.disconnected = cycle.response_started, True
            cycle.message_event.set()
            if started:  # the error cannot follow half a response
                self.transport.close()
                return
        body = json.dumps(ApiError(status, message).body).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            "content-type: application/json\r\n"
            f"{HEADER}: {new_request_id()}\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # Closing at once would reset the connection if more arrives, and lose the response.
        self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _start_timeout(self) -> None:
        self._stop_timeout()
        self._head_timeout = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _stop_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None

    def _expire(self) -> None:
        self._head_timeout = None
        if self._began is None:
            self.transport.close()
        elif self._linger is None:
            self._refuse(408, f"the headers did not arrive within {HEAD_SECONDS:g} s")

    def _check_writing(self, before: int) -> None:
        """Abort a connection whose client has read nothing since the last check.

        Only while nothing is added to the buffer, which otherwise can have the same size again.
        """
        waits = self.transport.is_closing() or self.flow.write_paused
        size = self.transport.get_write_buffer_size() if waits else 0
        if size and size == before:
            self.transport.abort()
        else:
            self._write_check = self.loop.call_later(WRITE_SECONDS / 2, self._check_writing, size)


def protocol_class(max_connections: int) -> type[GatewayProtocol]:
    """Return the protocol for a number of connections."""
    return type("GatewayProtocol", (GatewayProtocol,), {"max_connections": max_connections})


class _Busy:
    """Application for connections beyond the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        error = ApiError(
            503,
            f"the gateway has too many connections: retry in {_RETRY_AFTER} s",
            SERVER,
            code="overloaded",
        )
        headers = {"Retry-After": str(_RETRY_AFTER), "Connection": "close"}
        await RequestIds(JSONResponse(error.body, 503, headers))(scope, receive, send)
