"""Logs of runs in Redis: what is large, and what happens while Redis is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dreamr.serving.store import StoredRun, StoreLost
from support.redis_server import needs_redis
from support.stores import on_server, replicas

pytestmark = [pytest.mark.anyio, needs_redis]
RUN = StoredRun("resp_1", "alice", b"{}")


async def test_large_steps_and_events_are_read_in_several_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        steps, sizes = [bytes([number]) * 2**20 for number in range(4)], []
        await store.runs.open(RUN, 60)
        for step in steps:
            await store.runs.append("resp_1", [step], [step, b"small"])
        await store.runs.give_back("resp_1")
        send = other.link.run

        async def measured(*given: Any, **more: Any) -> Any:
            found = await send(*given, **more)
            sizes.append(sum(len(one) for one in found or () if isinstance(one, bytes)))
            return found

        monkeypatch.setattr(other.link, "run", measured)
        found = await other.runs.take_over()
        assert found.steps == tuple(one for step in steps for one in (step, b"small"))
        events: list[bytes] = []
        over = False
        while len(events) < 4:
            some, over = await other.runs.read("resp_1", "alice", len(events))
            events += some
        assert (events, over) == (steps, False)
        assert 2**20 <= max(sizes) < 2 * 2**20


@pytest.mark.parametrize("name", ["open", "resp_1:events", "events:resp_1", "lease:resp_1"])
async def test_a_name_reaches_no_other_key(name: str, tmp_path: Path) -> None:
    async with replicas(tmp_path, 1) as (store,):
        await store.runs.open(RUN, 60)
        await store.runs.append("resp_1", [b"a"], [b"step"])
        assert await store.runs.read(name, "alice", 0) is None
        assert not await store.runs.cancel(name, "alice")
        assert not await store.runs.delete(name, "alice")
        assert store.losses == 0
        assert await store.runs.append("resp_1", [b"b"], []) == "kept"


@pytest.mark.parametrize("part", ["events", "steps"])
async def test_a_log_of_which_redis_has_less_gets_no_gap(part: str, tmp_path: Path) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        await store.runs.open(RUN, 60)
        for one in (b"1", b"2", b"3"):
            assert await store.runs.append("resp_1", [one], [one]) == "kept"
        await on_server(tmp_path, "RPOP", f"dreamr:{{gateway}}:run-log:{part}:resp_1")
        assert await store.runs.append("resp_1", [b"4"], [b"4"]) == "lost"
        await end_lease(tmp_path)
        found = await other.runs.take_over()
        assert (len(found.steps), found.events) == ((3, 2) if part == "events" else (2, 3))


@contextmanager
def lost_replies(store: Any) -> Iterator[None]:
    """Let a store carry out commands, and lose their replies."""
    send = store.link.run

    async def lose_reply(*given: Any, **more: Any) -> Any:
        await send(*given, **more)
        raise StoreLost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.link, "run", lose_reply)
        yield


async def end_lease(folder: Path) -> None:
    """Let other replicas take the run over."""
    await on_server(folder, "DEL", "dreamr:{gateway}:run-log:lease:resp_1")


async def test_a_run_that_redis_did_not_confirm_runs_once(tmp_path: Path) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        runs = store.runs
        with lost_replies(store):
            assert await runs.open(RUN, 60)
        await end_lease(tmp_path)
        assert await runs.append("resp_1", [b"a"], [b"step"]) == "kept"
        assert await runs.read("resp_1", "alice", 0) == ([b"a"], False)
        assert await runs.take_over() is None
        assert await other.runs.take_over() is None
        assert await runs.append("resp_1", [b"b"], [], ended=True) == "kept"
        assert await runs.read("resp_1", "alice", 0) == ([b"a", b"b"], True)
        assert await on_server(tmp_path, "KEYS", "*resp_1*") == []


async def test_a_run_that_redis_did_not_confirm_can_end_before_it_is_back(tmp_path: Path) -> None:
    async with replicas(tmp_path, 1) as (store,):
        runs = store.runs
        with lost_replies(store):
            assert await runs.open(RUN, 60)
        assert await runs.append("resp_1", [b"a"], [], ended=True) == "kept"
        await end_lease(tmp_path)
        assert await runs.take_over() is None
        assert await runs.read("resp_1", "alice", 0) == ([b"a"], True)


async def test_a_run_that_redis_did_not_confirm_and_its_replica_refused_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamr.serving.store.memory._MOST_RUNS", 0)
    async with replicas(tmp_path, 1) as (store,):
        with lost_replies(store):
            assert not await store.runs.open(RUN, 60)
        assert await store.runs.take_over() is None
        assert await store.runs.open(RUN, 60)
        await store.runs.give_back("resp_1")
        assert await store.runs.take_over() == RUN
