"""Quotas in Redis: what is lost or late on the way to it counts once."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr.serving.store import Limits, StoreLost
from support.redis_server import RedisServer, needs_redis
from support.stores import on_server

digest_of = pytest.importorskip("dreamr.serving.store.redis_quotas").digest_of
RedisStore = pytest.importorskip("dreamr.serving.store.redis").RedisStore
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def on_one_server(folder: Path, count: int) -> AsyncIterator[list[Any]]:
    """Yield stores on one server."""
    with RedisServer(folder) as server:
        found = [RedisStore(server.url) for _ in range(count)]
        yield found
        for store in found:
            await store.aclose()


async def test_refused_requests_are_not_remembered_while_redis_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]  # nothing listens there after the block
    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    limits = Limits(requests=1)
    assert (await store.quotas.enter("a", "first", limits)).refused is None
    assert store.lost
    for number in range(3):
        assert (await store.quotas.enter("a", f"more {number}", limits)).refused == "requests"
    await store.quotas.leave("a", "first")
    assert store.quotas._alone == set()
    await store.aclose()


@needs_redis
async def test_a_clock_that_is_set_back_locks_no_client_out(tmp_path: Path) -> None:
    later = 9_000_000_000  # seconds since 1970
    async with on_one_server(tmp_path, 1) as (store,):
        limits = Limits(running=2, requests=60)
        assert (await store.quotas.enter("alice", "1", limits)).refused is None
        digest = digest_of("alice")
        quota, running = (f"dreamr:{{gateway}}:{name}:{digest}" for name in ("quota", "running"))
        await on_server(tmp_path, "HSET", quota, "at", later)
        await on_server(tmp_path, "ZADD", running, later, "of a dead replica")
        await on_server(tmp_path, "ZREM", running, "1")
        entered = await store.quotas.enter("alice", "2", limits)
        assert entered.refused is None
        assert 57 < entered.levels["requests"].level < 60
        seconds, _ = await on_server(tmp_path, "TIME")
        assert await on_server(tmp_path, "ZCOUNT", running, int(seconds) + 60, "+inf") == 0


@needs_redis
async def test_requests_that_end_together_do_not_count_as_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(running=2, tokens=1000)
    async with on_one_server(tmp_path, 1) as (store,):
        quotas, send = store.quotas, store.link.run
        begun, over = 0, anyio.Event()

        async def reach_late(*given: Any) -> Any:
            """Let the first report reach Redis after the second, if both are sent together."""
            nonlocal begun
            begun += 1
            if begun == 1:
                await anyio.wait_all_tasks_blocked()
                if begun == 2:
                    await over.wait()
                return await send(*given)
            found = await send(*given)
            over.set()
            return found

        for name in "12":
            assert (await quotas.enter("alice", name, limits)).refused is None
        with monkeypatch.context() as patch:
            patch.setattr(store.link, "run", reach_late)
            async with anyio.create_task_group() as tasks:
                for name in "12":
                    tasks.start_soon(quotas.leave, "alice", name)
        assert (await quotas.enter("alice", "3", Limits(running=1))).refused is None


@needs_redis
async def test_tokens_whose_report_lost_its_reply_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(running=1, tokens=1000)
    async with on_one_server(tmp_path, 2) as (store, other):
        quotas, send = store.quotas, store.link.run

        async def lose_reply(*given: Any) -> Any:
            await send(*given)
            raise StoreLost

        async def level(quotas: Any) -> float:
            """Return the level as Redis has it."""
            entered = await quotas.enter("alice", "look", limits, again=True)
            await quotas.leave("alice", "look")
            return float(entered.levels["tokens"].level)

        began = anyio.current_time()
        for number in range(3):
            await quotas.enter("alice", str(number), limits)
            quotas.spend("alice", str(number), 100)
            with monkeypatch.context() as patch:
                patch.setattr(store.link, "run", lose_reply)
                await quotas.leave("alice", str(number))
                quotas.spend("alice", str(number), 20)
                assert quotas.levels("alice")["tokens"].level < 1000 - 100 * (number + 1)
            await quotas.enter("alice", "after", limits)
            await quotas.leave("alice", "after")
        found = await level(other.quotas)
        filled = (anyio.current_time() - began) * 1000 / 60  # while the test ran
        assert 639 <= found <= 641 + filled
        assert (await other.quotas.enter("alice", "next", limits)).refused is None
