"""Without Redis, or with one that is frozen or full, a replica uses its own state."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from dreamr._option_specs import BadOption
from dreamr.serving.store import Kind, Limits, Store, StoredRecord, StoredRun, StoreLost
from support.redis_server import RedisServer, needs_redis
from support.stores import on_server

RedisStore = pytest.importorskip("dreamr.serving.store.redis").RedisStore
pytestmark = [pytest.mark.anyio, needs_redis]
KIND = Kind("page", 100, 10**6)
LIMITS = Limits(requests=2)
SECONDS = 30


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon whether a lost server is back."""
    monkeypatch.setattr("dreamr.serving.store.link._PAUSE", (0.05, 0.4))


@asynccontextmanager
async def watched(url: str, lease: float = 6.0) -> AsyncIterator[Store]:
    store = RedisStore(url, lease=lease)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        with anyio.fail_after(SECONDS):
            yield store
        tasks.cancel_scope.cancel()
    await store.aclose()


async def back(store: Store) -> None:
    while store.lost:
        await anyio.sleep(0.01)


async def entered(store: Store, count: int) -> list[Any]:
    return [(await store.quotas.enter("a", str(n), LIMITS)).refused for n in range(count)]


async def test_without_redis_each_replica_has_limits_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dreamr.serving.store")
    with RedisServer(tmp_path) as server:
        async with watched(server.url) as store:
            assert await entered(store, 1) == [None]
            server.kill()
            assert await entered(store, 3) == [None, None, "requests"]
            assert (store.lost, store.losses) == (True, 1)
            await store.records.put(KIND, StoredRecord("1", "a", b"x"), 60, 1)
            assert await store.records.get(KIND, "1", "a")
            server.start()
            await back(store)
            assert await entered(store, 2) == [None, "requests"], "what Redis knew still counts"
            assert await store.records.get(KIND, "1", "a"), "it stays with its replica"
            await store.records.put(KIND, StoredRecord("1", "a", b"new"), 60, 1)
            assert await store.records.all(KIND, "a") == [StoredRecord("1", "a", b"new")]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "uses its own state" in said[0]
    assert "is back" in said[1]


async def test_tokens_that_redis_did_not_hear_of_are_told_later(tmp_path: Path) -> None:
    limits = Limits(tokens=100)
    with RedisServer(tmp_path) as server:
        async with watched(server.url) as store:
            await store.quotas.enter("a", "1", limits)
            server.kill()
            store.quotas.spend("a", "1", 5000)
            await store.quotas.leave("a", "1")
            server.start()
            await back(store)
            async with watched(server.url) as other:
                while (await other.quotas.enter("a", "2", limits)).refused is None:
                    await other.quotas.leave("a", "2")


async def test_a_replica_that_finds_redis_first_leaves_runs_to_their_replicas(
    tmp_path: Path,
) -> None:
    async def end_lease() -> None:
        await on_server(tmp_path, "DEL", "dreamr:{gateway}:run-log:lease:resp_1")

    with RedisServer(tmp_path) as server:
        async with (
            watched(server.url, lease=600) as first,
            watched(server.url, lease=600) as second,
            watched(server.url, lease=0.01) as third,
        ):
            await first.runs.open(StoredRun("resp_1", "alice", b"{}"), 60)
            server.kill()
            with pytest.raises(StoreLost):
                await first.runs.append("resp_1", [b"a"], [b"step"])
            for other in (second, third):
                assert await other.runs.take_over() is None
                assert other.lost
            server.start()
            await end_lease()
            await back(second)
            assert await second.runs.take_over() is None
            await back(first)
            assert await first.runs.append("resp_1", [b"a"], [b"step"]) == "kept"
            await end_lease()
            while (found := await third.runs.take_over()) is None:
                await anyio.sleep(0.01)
            assert found.steps == (b"step",)


@asynccontextmanager
async def forwarded(to: list[RedisServer]) -> AsyncIterator[str]:
    """Yield an address whose new connections lead to the server that is the last in a list."""

    async def connect(client: SocketStream) -> None:
        async def copy(source: SocketStream, target: SocketStream) -> None:
            with suppress(anyio.BrokenResourceError):
                async for data in source:
                    await target.send(data)
            both.cancel_scope.cancel()

        async with (
            client,
            await anyio.connect_unix(to[-1].socket) as server,
            anyio.create_task_group() as both,
        ):
            both.start_soon(copy, client, server)
            both.start_soon(copy, server, client)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, connect)
        yield f"redis://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/0"
        tasks.cancel_scope.cancel()


async def test_after_a_failover_a_replica_uses_the_new_primary(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "12"]
    for folder in folders:
        folder.mkdir()
    with RedisServer(folders[0]) as former, RedisServer(folders[1]) as primary:
        to = [former]
        async with forwarded(to) as url, watched(url) as store:
            assert await entered(store, 1) == [None]
            assert store.losses == 0
            former.value("REPLICAOF", "127.0.0.1", "1")  # it keeps its connections, read only
            to.append(primary)
            await entered(store, 1)
            assert store.lost
            await back(store)
            await store.records.put(KIND, StoredRecord("1", "a", b"x"), 60, 1)
            assert primary.value("EXISTS", "dreamr:{gateway}:page:content:1") == 1


async def test_a_frozen_redis_costs_one_bounded_wait(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with watched(server.url) as store:
            assert await entered(store, 1) == [None]
            os.kill(server.process, signal.SIGSTOP)
            try:
                with anyio.fail_after(10):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(50):
                            tasks.start_soon(entered, store, 1)
                    assert await entered(store, 200) == ["requests"] * 200
                assert store.losses == 1
            finally:
                os.kill(server.process, signal.SIGCONT)
            await back(store)


async def test_a_full_redis_counts_as_lost_until_there_is_room(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--maxmemory", "3mb") as server:
        async with watched(server.url) as store:
            for name in range(8):
                await store.records.put(KIND, StoredRecord(str(name), "a", b"x" * 2**20), 60, 1)
            assert store.lost
            assert await store.records.get(KIND, "7", "a")
            from redis import Redis

            with Redis.from_url(server.url) as client:
                client.config_set("maxmemory", "100mb")
            await back(store)


@pytest.mark.parametrize("given", [None, "wrong"])
async def test_a_wrong_password_is_an_error_at_the_start(given: str | None, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "secret") as server:
        with pytest.raises(BadOption, match="denies access: set DREAMR_REDIS_PASSWORD"):
            await RedisStore(server.url, given).check()
        store = RedisStore(server.url, "secret")
        await store.check()
        assert not store.lost
        await store.aclose()


async def test_an_address_that_is_none_is_an_error() -> None:
    for url in ("gpu1:6379", "redis:6379", "redis://host:port/0"):
        with pytest.raises(BadOption, match=f"--store {url} is not an address of Redis"):
            RedisStore(url)


async def test_a_server_that_is_not_there_yet_can_come_later(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    async with watched(server.url) as store:
        await store.check()
        assert store.lost
        with server:
            await back(store)
            assert await entered(store, 1) == [None]
