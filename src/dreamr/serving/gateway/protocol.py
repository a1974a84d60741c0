"""The HTTP of uvicorn, but for clients that begin a request and never end its head."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 30.0  # a request's head must have come by then

_Base: Any = AutoHTTPProtocol  # one class or another: see there


class ImpatientProtocol(_Base):  # type: ignore[misc]
    """Closes a connection on which no request has come together for a while.

    uvicorn itself bounds only how long a connection may stay open between two requests.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is there, with nothing said yet."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something came: of a new request, or of the body of one under way."""
        super().data_received(data)
        if self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._look)

    def _look(self) -> None:
        self._patience = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
