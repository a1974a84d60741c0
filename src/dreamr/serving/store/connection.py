"""Clients of a Redis server, and what is wrong with it in one line."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    TimeoutError,
)

from dreamr._messages import one_line, reason, short_path

PASSWORD = "DREAMR_REDIS_PASSWORD"
UNREACHABLE = (ConnectionError, TimeoutError, BusyLoadingError)
_DENIED = (AuthenticationError, AuthorizationError, NoPermissionError)
_CONNECTIONS = 16


class _TlsConnection(SSLConnection):
    """A connection that is closed once redis-py no longer waits for it.

    asyncio would wait up to 30 seconds more for the server to confirm the end of TLS.
    """

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Disconnect from the server."""
        writer = self._writer
        try:
            await super().disconnect(*args, **kwargs)
        finally:
            if writer is not None:
                writer.transport.abort()


def open_client(
    url: str, password: str | None, retry: Retry, *, seconds: float, wait: float | None
) -> Redis:
    """Return a client of a Redis server, which connects at its first command.

    Args:
        url: Address of the server, such as redis://host:6379/0.
        password: Password, where the address has none; empty or None: none.
        retry: Further tries of a command after a lost connection.
        seconds: Time to connect, and to get an answer.
        wait: Time to wait for a free connection; None for as long as it takes.

    Raises:
        ValueError: If it is not an address of Redis.
    """
    more = {} if not password or urlsplit(url).password else {"password": password}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=wait,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=retry,
        retry_on_error=list(UNREACHABLE),
        **more,
    )
    if pool.connection_class is SSLConnection:
        pool.connection_class = _TlsConnection
    return Redis.from_pool(pool)


def shown_address(url: str) -> str:
    """Return an address without user and password."""
    parts = urlsplit(url)
    return short_path(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl())


def is_denied(error: BaseException) -> bool:
    """Return whether a server does not let this process in."""
    return any(isinstance(cause, _DENIED) for cause in _chain(error))


def is_foreign(error: BaseException) -> bool:
    """Return whether a server does not speak the protocol of Redis."""
    return any(isinstance(cause, InvalidResponse) for cause in _chain(error))


def is_untrusted(error: BaseException) -> bool:
    """Return whether the certificate of a server is not trusted."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _chain(error))


def is_of_cluster(error: BaseException) -> bool:
    """Return whether a server is a node of a cluster that does not keep the keys."""
    return any(isinstance(cause, MovedError | ClusterDownError) for cause in _chain(error))


def why(error: BaseException) -> str:
    """Return why a server cannot be reached: of redis-py's chain, what the system reports."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({one_line(cause.verify_message)})"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({one_line(cause.reason or str(cause))})"
        if isinstance(cause, OSError) and cause.errno:
            # asyncio replaces the text of errors of connecting
            text = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
            return one_line(text[:1].lower() + text[1:])
    text = reason(error)
    return text[:1].lower() + text[1:]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
