"""The connection to Redis. Its errors are those of batches, in one line that says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from dreamr._messages import reason
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.store.connection import (
    PASSWORD,
    UNREACHABLE,
    is_denied,
    is_foreign,
    open_client,
    shown_address,
    why,
)

__all__ = ["PASSWORD", "RESUME", "Link", "connect"]

RESUME = "what is answered is kept; run the same command again to go on"
_SECONDS = 5.0  # to connect, and to get an answer
_RETRIES = 8  # after a lost connection: about 20 seconds
_PAUSE = 0.2, 5.0  # seconds between them, first and longest


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
        except UNREACHABLE as error:
            raise BatchError(
                f"lost the Redis server at {self._address}: {why(error)}; {RESUME}"
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
            if is_denied(error):
                raise BatchError(
                    f"the Redis server at {self._address} denies access: set {PASSWORD}, or put "
                    "user and password into the address"
                ) from error
            if is_foreign(error):
                raise BatchError(
                    f"what answers at {self._address} is not a Redis server: check --share"
                ) from error
            raise BatchError(
                f"cannot reach the Redis server at {self._address}: {why(error)}; start it, or "
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
    shown = shown_address(url)
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
    retry = Retry(ExponentialWithJitterBackoff(base=_PAUSE[0], cap=_PAUSE[1]), retries)
    return open_client(url, password, retry, seconds=_SECONDS, wait=None)
