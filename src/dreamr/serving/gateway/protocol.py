"""HTTP protocol of uvicorn with a timeout for request headers."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 30.0  # time limit for the headers of a request

_Base: Any = AutoHTTPProtocol  # httptools or h11, whichever is installed


class ImpatientProtocol(_Base):  # type: ignore[misc]
    """Protocol that closes connections whose request headers do not arrive in time.

    uvicorn itself limits only the idle time between two requests.
    """

    _head_timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timeout for the first request."""
        super().connection_made(transport)
        self._start_timeout()

    def data_received(self, data: bytes) -> None:
        """Restart the timeout if it has expired; the data may begin a new request."""
        super().data_received(data)
        if self._head_timeout is None:
            self._start_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout."""
        super().connection_lost(exc)
        if self._head_timeout is not None:
            self._head_timeout.cancel()

    def _start_timeout(self) -> None:
        self._head_timeout = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _expire(self) -> None:
        self._head_timeout = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
