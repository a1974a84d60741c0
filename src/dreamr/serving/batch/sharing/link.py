"""The connection to Redis. Its errors are those of batches, in one line that says what to do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    TimeoutError,
)

from dreamr._messages import one_line, reason, short_path
from dreamr.serving.batch.errors import BatchError

PASSWORD = "DREAMR_REDIS_PASSWORD"
RESUME = "what is answered is kept; run the same command again to go on"
_SECONDS = 5.0  # to connect, and to get an answer
_CONNECTIONS = 16
_RETRIES = 8  # after a lost connection: about 20 seconds
_PAUSE = 0.2, 5.0  # seconds between them, first and longest
_DENIED = (AuthenticationError, AuthorizationError, NoPermissionError)
_UNREACHABLE = (ConnectionError, TimeoutError, BusyLoadingError)


class Link:
    """A connection to a Redis server that runs scripts.

    Commands are sent again after a lost connection, for some seconds. Scripts must allow that.

    Args:
        client: Client of the server.
        address: Address of the server for messages, without a password.
    """

    def __init__(self, client: Redis, address: str) -> None:
        self._client, self._address = client, address

    async def run(self, script: str, keys: list[str], *given: Any) -> Any:
        """Run a script and return its result.

        Args:
            script: The script.
            keys: Its keys.
            given: Its arguments.

        Raises:
            BatchError: If the server is lost, or refuses it.
        """
        try:
            return await self._client.register_script(script)(keys=keys, args=given)
        except _UNREACHABLE as error:
            raise BatchError(
                f"lost the Redis server at {self._address}: {_why(error)}; {RESUME}"
            ) from error
        except (RedisError, OSError) as error:
            raise BatchError(
                f"the Redis server at {self._address} refused a command: {reason(error)}; {RESUME}"
            ) from error

    async def check(self) -> None:
        """Check that the server answers and lets this process in.

        Raises:
            BatchError: If it does not.
        """
        try:
            await self._client.ping()
        except (RedisError, OSError) as error:
            causes = list(_chain(error))
            if any(isinstance(cause, _DENIED) for cause in causes):
                raise BatchError(
                    f"the Redis server at {self._address} denies access: set {PASSWORD}, or put "
                    "user and password into the address"
                ) from error
            if any(isinstance(cause, InvalidResponse) for cause in causes):
                raise BatchError(
                    f"what answers at {self._address} is not a Redis server: check --share"
                ) from error
            raise BatchError(
                f"cannot reach the Redis server at {self._address}: {_why(error)}; start it, or "
                "check --share"
            ) from error


@asynccontextmanager
async def connect(
    url: str, password: str | None = None, retries: int = _RETRIES
) -> AsyncIterator[Link]:
    """Connect to a Redis server.

    Args:
        url: Its address, such as redis://host:6379/0.
        password: Password, where the address has none.
        retries: Further tries of a command after a lost connection.

    Raises:
        BatchError: If it cannot be reached or denies access.
    """
    shown = _shown(url)
    try:
        first = _client(url, password, retries=0)
        client = _client(url, password, retries)
    except ValueError as error:
        raise BatchError(f"--share {shown} is not an address of Redis: {reason(error)}") from error
    async with first:  # without retries: a wrong address is reported at once
        await Link(first, shown).check()
    async with client:
        yield Link(client, shown)


def _client(url: str, password: str | None, retries: int) -> Redis:
    more = {} if password is None or urlsplit(url).password else {"password": password}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=None,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=_PAUSE[0], cap=_PAUSE[1]), retries),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError],
        **more,
    )
    return Redis.from_pool(pool)


def _shown(url: str) -> str:
    """Return an address without user and password."""
    parts = urlsplit(url)
    return short_path(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl())


def _why(error: BaseException) -> str:
    """Return why a server cannot be reached: of redis-py's chain, what the system reports."""
    for cause in _chain(error):
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
