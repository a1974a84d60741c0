"""Stores for tests: in memory, and of replicas on a real Redis server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dreamr.serving.store import Store
from dreamr.serving.store.memory import MemoryStore
from support.redis_server import RedisServer, needs_redis

STORES = ["memory", pytest.param("redis", marks=needs_redis)]


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Store]:
    """Yield a store of one of the kinds of `STORES`."""
    if kind == "memory":
        yield MemoryStore()
        return
    async with replicas(folder, 1) as (found,):
        yield found


@asynccontextmanager
async def replicas(folder: Path, count: int, lease: float = 6.0) -> AsyncIterator[list[Any]]:
    """Yield stores on one server."""
    from dreamr.serving.store.redis import RedisStore

    with RedisServer(folder) as server:
        found = [RedisStore(server.url, lease=lease) for _ in range(count)]
        try:
            yield found
        finally:
            for store in found:
                await store.aclose()


async def on_server(folder: Path, *command: Any) -> Any:
    """Return the result of a command at the server in a folder."""
    from redis.asyncio import Redis

    async with Redis.from_url(f"unix://{folder}/r.sock") as client:
        return await client.execute_command(*command)
