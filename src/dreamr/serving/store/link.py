"""The link to a Redis server of a gateway, which goes on without it."""

from __future__ import annotations

import logging
import math
from typing import Any

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dreamr._option_specs import BadOption
from dreamr.serving.store.connection import (
    PASSWORD,
    is_denied,
    is_foreign,
    is_of_cluster,
    is_untrusted,
    open_client,
    shown_address,
    why,
)
from dreamr.serving.store.protocol import StoreLost

LOG = logging.getLogger("dreamr.serving.store")

_SCHEMES = ("redis://", "rediss://", "unix://")
_SECONDS = 1.0  # for a command, waiting for a connection included
_LARGE_SECONDS = 2.0  # for a command with a large content
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
# Seconds between two tries of a lost server, first and longest: with the time of a command, so much
# shorter than a lease that all replicas find the server again before one of them takes over runs.
_PAUSE = 1.0, 2.0
_STEADY = 60.0  # seconds after which a server that was lost counts as steady again
_PROBE_KEY = "dreamr:{gateway}:probe"
_PROBE = "return redis.call('SET', KEYS[1], '1', 'PX', 60000)"  # a full server refuses it


class StoreLink:
    """Runs scripts on a Redis server, each in bounded time and without retries.

    After a failure, scripts fail at once until a server answers again, which `watch` tries.

    Args:
        url: Address of the server.
        password: Password, where the address has none.
        seconds: Time for a command.

    Attributes:
        lost: Whether the server is lost.
        losses: How often it was lost.

    Raises:
        BadOption: If it is not an address of Redis.
    """

    def __init__(self, url: str, password: str | None, *, seconds: float = _SECONDS) -> None:
        self.address = shown_address(url)
        self._seconds = seconds
        if not url.startswith(_SCHEMES):  # redis-py takes redis:6379 for this machine
            raise BadOption(
                f"--store {self.address} is not an address of Redis: use redis://HOST:PORT/0"
            )
        try:
            self._client: Redis = open_client(
                url, password, Retry(NoBackoff(), 0), seconds=_LARGE_SECONDS, wait=_LARGE_SECONDS
            )
        except ValueError as error:
            raise BadOption(
                f"--store {self.address} is not an address of Redis: {why(error)}"
            ) from error
        self.lost, self.losses = False, 0
        self._found = -math.inf  # time at which a lost server was back
        self._pause = _PAUSE[0]
        self._changed = anyio.Event()

    async def run(self, script: str, keys: list[str], *given: Any, large: bool = False) -> Any:
        """Run a script and return its result.

        Args:
            script: The script.
            keys: Its keys.
            given: Its arguments.
            large: Whether arguments or result are large.

        Raises:
            StoreLost: If the server is lost.
        """
        if self.lost:
            raise StoreLost(f"the Redis server at {self.address} is lost")
        try:
            with anyio.fail_after(_LARGE_SECONDS if large else self._seconds):
                return await self._client.register_script(script)(keys=keys, args=given)
        except (RedisError, OSError) as error:
            self._lose(error)
            raise StoreLost(f"lost the Redis server at {self.address}: {why(error)}") from error

    def is_steady(self, seconds: float) -> bool:
        """Return whether a server that was lost has been back for a while.

        Args:
            seconds: How long.
        """
        return not self.lost and anyio.current_time() - self._found >= seconds

    async def check(self) -> None:
        """Check that the server lets this process in; one that cannot be reached may come later.

        Raises:
            BadOption: If it never will.
        """
        try:
            with anyio.fail_after(_CONNECT_SECONDS):
                await self._client.ping()
                await self._client.get(_PROBE_KEY)
        except (RedisError, OSError) as error:
            if (fault := self._fault(error)) is not None:
                raise BadOption(fault) from error
            self._lose(error)

    def _fault(self, error: BaseException) -> str | None:
        """Return what no wait changes, None if the server may come later."""
        if is_denied(error):
            return (
                f"the Redis server at {self.address} denies access: set {PASSWORD}, or put user "
                "and password into the address"
            )
        if is_foreign(error):
            return f"what answers at {self.address} is not a Redis server: check --store"
        if is_untrusted(error):
            return (
                f"the Redis server at {self.address} cannot be used: {why(error)}; name the file "
                "of its authority in SSL_CERT_FILE, or as ?ssl_ca_certs=FILE of the address"
            )
        if is_of_cluster(error):
            return (
                f"the Redis server at {self.address} is a node of a cluster: use a server that "
                "is none"
            )
        return None

    async def watch(self) -> None:
        """Try a lost server again after pauses, until canceled."""
        while True:
            while self.lost:
                await anyio.sleep(self._pause)
                await self._probe()
            self._changed = anyio.Event()
            await self._changed.wait()

    async def aclose(self) -> None:
        """Close all connections."""
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._client.aclose()

    async def _probe(self) -> None:
        try:
            with anyio.fail_after(self._seconds):
                # After a failover, open connections can lead to the former primary.
                await self._client.connection_pool.disconnect(inuse_connections=False)
                await self._client.register_script(_PROBE)(keys=[_PROBE_KEY])
        except (RedisError, OSError):
            self._pause = min(2 * self._pause, _PAUSE[1])
            return
        self.lost, self._found = False, anyio.current_time()
        LOG.info("the Redis server at %s is back: replicas share their state again", self.address)

    def _lose(self, error: BaseException) -> None:
        if self.lost:
            return
        if anyio.current_time() - self._found > _STEADY:
            self._pause = _PAUSE[0]
        self.lost = True
        self.losses += 1
        self._changed.set()
        said = "it took too long" if isinstance(error, TimeoutError) else why(error)
        LOG.warning(
            "lost the Redis server at %s: %s; this replica uses its own state",
            self.address,
            said,
        )
