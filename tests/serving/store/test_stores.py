"""What every store keeps, in memory and in Redis: quotas, records and logs of runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr.serving.store import Kind, Limits, Store, StoredRecord, StoredRun, StoreLost
from support.redis_server import needs_redis
from support.stores import STORES, on_server, opened, replicas

pytestmark = pytest.mark.anyio
KIND = Kind("page", 4, 1000)
FULL = Kind("file", 4, 1000, evicts=False)
RUN = StoredRun("resp_1", "alice", b"{}")
KEYS = "dreamr:{gateway}"


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as found:
        yield found


def page(name: str, owner: str = "alice", content: bytes = b"text") -> StoredRecord:
    return StoredRecord(name, owner, content)


async def names(store: Store, owner: str, kind: Kind = KIND) -> str:
    return "".join(one.name for one in await store.records.all(kind, owner))


async def test_a_record_belongs_to_its_client(store: Store) -> None:
    records = store.records
    assert await records.put(KIND, page("1"), 60, 10)
    assert await records.get(KIND, "1", "alice") == page("1")
    assert not await records.put(KIND, page("1", "bob"), 60, 10)
    assert await records.get(KIND, "1", "bob") is None
    assert await records.get(FULL, "1", "alice") is None
    assert not await records.delete(KIND, "1", "bob")
    assert await records.touch(KIND, "1", "alice", 60)
    assert await records.delete(KIND, "1", "alice")
    assert await records.get(KIND, "1", "alice") is None
    assert not await records.touch(KIND, "1", "alice", 60)


async def test_a_record_gets_another_content_at_its_place(store: Store) -> None:
    for name in "12":
        await store.records.put(KIND, page(name), 60, 10)
    assert await store.records.put(KIND, page("1", content=b"new"), 60, 10)
    assert await store.records.get(KIND, "1", "alice") == page("1", content=b"new")
    assert await names(store, "alice") == "12"


async def test_the_oldest_records_of_a_client_make_room_for_its_own(store: Store) -> None:
    for name, owner in (("b", "bob"), ("1", "alice"), ("2", "alice"), ("3", "alice")):
        assert await store.records.put(KIND, page(name, owner), 60, 10)
    assert (await names(store, "alice"), await names(store, "bob")) == ("23", "b")
    assert await store.records.put(KIND, page("4"), 60, 495)
    assert await names(store, "alice") == "4"
    assert not await store.records.put(KIND, page("5"), 60, 501)


async def test_the_oldest_of_all_records_make_room(store: Store) -> None:
    for name in "12345":
        assert await store.records.put(KIND, page(name, name), 60, 10)
    assert [await names(store, name) for name in "12345"] == ["", "2", "3", "4", "5"]


async def test_a_record_that_was_used_makes_room_last(store: Store) -> None:
    for name in "12":
        assert await store.records.put(KIND, page(name), 60, 10)
    assert await store.records.touch(KIND, "1", "alice", 60)
    assert await store.records.put(KIND, page("3"), 60, 10)
    assert await names(store, "alice") == "13"
    for name in "xy":
        assert await store.records.put(KIND, page(name, name), 60, 10)
    assert await store.records.touch(KIND, "1", "alice", 60)
    assert await store.records.put(KIND, page("z", "z"), 60, 10)
    assert await names(store, "alice") == "1"


async def test_a_kind_that_does_not_evict_refuses(store: Store) -> None:
    assert await store.records.put(FULL, page("1"), 60, 300)
    assert not await store.records.put(FULL, page("2"), 60, 300)
    assert await store.records.put(FULL, page("1"), 60, 500)
    assert await store.records.delete(FULL, "1", "alice")
    assert await store.records.put(FULL, page("2"), 60, 300)


async def test_an_empty_record_counts_for_nothing(store: Store) -> None:
    assert await store.records.put(FULL, page("1", content=b""), 60, 0)
    assert await store.records.put(FULL, page("2"), 60, 500)
    assert await store.records.delete(FULL, "1", "alice")
    assert not store.lost
    assert await names(store, "alice", FULL) == "2"


@needs_redis
@pytest.mark.parametrize("key", ["sizes", "owners", "made", "ends", "used", "of"])
@pytest.mark.parametrize("kind", [KIND, FULL])
async def test_records_go_on_after_redis_has_evicted_one_of_their_keys(
    key: str, kind: Kind, tmp_path: Path
) -> None:
    from dreamr.serving.store.redis_quotas import digest_of

    if key == "of":
        key = f"of:{digest_of('alice')}"
    async with replicas(tmp_path, 1) as (store,):
        await store.records.put(kind, page("1"), 0.01, 40)
        await store.records.put(kind, page("2"), 60, 450)
        assert await on_server(tmp_path, "DEL", f"{KEYS}:{kind.name}:{key}") == 1
        with anyio.fail_after(20):
            while await store.records.get(kind, "1", "alice"):
                await anyio.sleep(0)
        for name in "3456":
            if await store.records.put(kind, page(name), 60, 400):
                assert await store.records.get(kind, name, "alice")
            else:
                assert not kind.evicts
        assert store.losses == 0


async def test_a_record_expires(store: Store) -> None:
    assert await store.records.put(FULL, page("1"), 0.05, 500)
    with anyio.fail_after(20):
        while not await store.records.put(FULL, page("2"), 60, 500):
            await anyio.sleep(0)
    assert await store.records.get(FULL, "1", "alice") is None


async def test_a_limit_is_exact_under_simultaneous_requests(store: Store) -> None:
    refused: list[str | None] = []

    async def ask(number: int) -> None:
        entered = await store.quotas.enter("alice", str(number), Limits(requests=50))
        refused.append(entered.refused)

    async with anyio.create_task_group() as tasks:
        for number in range(120):
            tasks.start_soon(ask, number)
    # A slow machine may see one more come in.
    assert 50 <= refused.count(None) <= 52
    assert refused.count("requests") == 120 - refused.count(None)


async def test_running_requests_and_tokens_are_counted(store: Store) -> None:
    quotas, limits = store.quotas, Limits(running=1, tokens=60)
    assert (await quotas.enter("alice", "1", limits)).refused is None
    assert (await quotas.enter("alice", "2", limits)).refused == "running"
    assert (await quotas.enter("bob", "3", limits)).refused is None
    quotas.spend("alice", "1", 100)
    assert -41 <= quotas.levels("alice")["tokens"].level <= -30
    await quotas.leave("alice", "1")
    entered = await quotas.enter("alice", "4", limits)
    assert entered.refused == "tokens"
    assert 0 < entered.levels["tokens"].seconds(1) <= 41
    assert (await quotas.enter("alice", "4", limits, again=True)).refused is None


async def test_a_log_is_read_by_its_client_alone(store: Store) -> None:
    runs = store.runs
    assert await runs.open(RUN, 60)
    assert await runs.read("resp_1", "alice", 0) == ([], False)
    assert await runs.append("resp_1", [b"a", b"b"], [b"step"]) == "kept"
    assert await runs.read("resp_1", "alice", 1) == ([b"b"], False)
    assert await runs.read("resp_1", "bob", 0) is None
    assert not await runs.cancel("resp_1", "bob")
    assert not await runs.delete("resp_1", "alice")
    assert await runs.append("resp_1", [b"c"], [], ended=True) == "kept"
    assert await runs.read("resp_1", "alice", 0) == ([b"a", b"b", b"c"], True)
    assert await runs.delete("resp_1", "alice")
    assert await runs.read("resp_1", "alice", 0) is None


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep four runs, two of each client."""
    monkeypatch.setattr("dreamr.serving.store.memory._MOST_RUNS", 4)
    with suppress(ImportError):
        kind = Kind("run", 4, 2**27, evicts=False)
        monkeypatch.setattr("dreamr.serving.store.redis._RUNS", kind)


def run(name: str, owner: str = "alice") -> StoredRun:
    return StoredRun(name, owner, b"{}")


@pytest.mark.usefixtures("few_runs")
async def test_a_run_counts_until_its_events_expire(store: Store) -> None:
    runs = store.runs
    for name in "12":
        assert await runs.open(run(name), 0)
        assert await runs.append(name, [b"a"], []) == "kept"
    assert not await runs.open(run("3"), 60)
    assert await runs.open(run("b", "bob"), 60)
    assert await runs.append("1", [b"b"], [], ended=True) == "kept"
    assert await runs.read("1", "alice", 0) is None
    assert await runs.open(run("3"), 60)
    assert await runs.append("3", [b"a"], [], ended=True) == "kept"
    assert await runs.read("3", "alice", 0) == ([b"a"], True)
    assert not await runs.open(run("4"), 60)
    assert await runs.delete("3", "alice")
    assert await runs.open(run("4"), 60)


@needs_redis
@pytest.mark.usefixtures("few_runs")
async def test_a_deleted_run_without_events_does_not_count(tmp_path: Path) -> None:
    async with replicas(tmp_path, 1) as (store,):
        for name in "12":
            await store.runs.open(run(name), 60)
        await on_server(tmp_path, "DEL", f"{KEYS}:run-log:about:1")
        assert not await store.runs.delete("1", "bob")
        assert not await store.runs.open(run("3"), 60)
        assert not await store.runs.delete("1", "alice")
        assert await store.runs.open(run("3"), 60)


@needs_redis
async def test_a_run_that_goes_on_keeps_its_request(tmp_path: Path) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        await store.runs.open(RUN, 60)
        await on_server(tmp_path, "EXPIRE", f"{KEYS}:run:content:resp_1", 10)
        await store.runs.append("resp_1", [b"a"], [])
        assert await on_server(tmp_path, "TTL", f"{KEYS}:run:content:resp_1") > 60
        await store.runs.give_back("resp_1")
        assert (await other.runs.take_over()).request == RUN.request


@needs_redis
async def test_a_sign_of_life_after_the_end_keeps_no_run_for_longer(tmp_path: Path) -> None:
    async with replicas(tmp_path, 1) as (store,):
        await store.runs.open(RUN, 60)
        await store.runs.append("resp_1", [b"a"], [], ended=True)
        assert await store.runs.append("resp_1", [], []) == "kept"
        for key in ("run-log:about:resp_1", "run-log:events:resp_1", "run:content:resp_1"):
            assert 0 < await on_server(tmp_path, "TTL", f"{KEYS}:{key}") <= 60


@needs_redis
async def test_events_whose_reply_is_lost_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(tmp_path, 2) as (store, other):
        runs, send = store.runs, store.link.run

        async def lose_reply(*given: Any, **more: Any) -> Any:
            await send(*given, **more)
            raise StoreLost

        async def append(*events: bytes, ended: bool = False) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(store.link, "run", lose_reply)
                with pytest.raises(StoreLost):
                    await runs.append("resp_1", events, [b"step", b"step"], ended=ended)

        await runs.open(RUN, 60)
        await append(b"a", b"b")
        steps = [b"step", b"step", b"other"]
        assert await runs.append("resp_1", [b"a", b"b", b"c"], steps) == "kept"
        assert await runs.append("resp_1", [b"c"], [b"other"]) == "kept"
        assert await runs.read("resp_1", "alice", 0) == ([b"a", b"b", b"c", b"c"], False)
        await runs.give_back("resp_1")
        found = await other.runs.take_over()
        assert (found.steps, found.events) == ((*steps, b"other"), 4)
        await other.runs.give_back("resp_1")
        assert await runs.take_over() == found
        await append(b"d", ended=True)
        assert await runs.append("resp_1", [b"d"], [b"step", b"step"], ended=True) == "kept"
        assert await runs.read("resp_1", "alice", 3) == ([b"c", b"d"], True)


async def test_a_run_learns_that_it_was_canceled(store: Store) -> None:
    await store.runs.open(RUN, 60)
    assert await store.runs.cancel("resp_1", "alice")
    assert await store.runs.append("resp_1", [], []) == "canceled"


@needs_redis
async def test_a_run_is_taken_over_once_and_the_first_can_write_no_more(tmp_path: Path) -> None:
    async with replicas(tmp_path, 3, lease=0.5) as stores:
        first, second, third = (store.runs for store in stores)
        await first.open(RUN, 60)
        await first.append("resp_1", [b"a", b"b"], [b"step"])
        found = None
        with anyio.fail_after(20):
            while found is None:
                found = await second.take_over()
        assert found == StoredRun("resp_1", "alice", b"{}", (b"step",), 2)
        assert await third.take_over() is None
        assert await first.append("resp_1", [b"c"], []) == "lost"
        assert await second.append("resp_1", [b"d"], [], ended=True) == "kept"
        assert await third.read("resp_1", "alice", 0) == ([b"a", b"b", b"d"], True)
        with anyio.fail_after(20):
            while await third.take_over() is not None:
                await anyio.sleep(0)


@needs_redis
async def test_a_run_that_is_given_back_is_taken_over_at_once(tmp_path: Path) -> None:
    async with replicas(tmp_path, 2, lease=600) as stores:
        first, second = (store.runs for store in stores)
        await first.open(RUN, 60)
        assert await second.take_over() is None
        await first.give_back("resp_1")
        assert await second.take_over() == RUN


@needs_redis
async def test_a_replica_does_not_take_over_a_run_that_it_holds(tmp_path: Path) -> None:
    async with replicas(tmp_path, 2) as (store, other):

        async def end_lease(name: str) -> None:
            assert await on_server(tmp_path, "DEL", f"{KEYS}:run-log:lease:{name}")

        runs = store.runs
        await runs.open(RUN, 60)
        await end_lease("resp_1")
        assert await runs.take_over() is None
        await other.runs.open(run("resp_2"), 60)
        await end_lease("resp_2")
        assert await runs.take_over() == run("resp_2"), "the one before it is not in the way"
        for name in ("resp_1", "resp_2"):
            await runs.append(name, [b"a"], [b"step"])
            await end_lease(name)
            assert await runs.take_over() is None
            assert await runs.append(name, [b"b"], []) == "kept"
            assert await runs.read(name, "alice", 0) == ([b"a", b"b"], False)
        await end_lease("resp_1")
        assert (await other.runs.take_over()).name == "resp_1"
        assert await runs.append("resp_1", [b"c"], []) == "lost"
        await other.runs.give_back("resp_1")
        assert (await runs.take_over()).events == 2, "it does not hold it any more"


@needs_redis
async def test_a_run_whose_client_leaves_while_it_begins_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(tmp_path, 1) as (store,):
        send = store.link.run
        scope = anyio.CancelScope()

        async def leave(*given: Any, **more: Any) -> Any:
            found = await send(*given, **more)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            return found

        with monkeypatch.context() as patch, scope:
            patch.setattr(store.link, "run", leave)
            await store.runs.open(RUN, 60)
        assert await store.runs.take_over() is None
        await on_server(tmp_path, "DEL", f"{KEYS}:run-log:lease:resp_1")
        assert await store.runs.take_over() == RUN


@needs_redis
async def test_replicas_count_together(tmp_path: Path) -> None:
    limits = Limits(running=1, requests=3, tokens=100)
    async with replicas(tmp_path, 2) as stores:
        one, other = (store.quotas for store in stores)
        assert (await one.enter("alice", "1", limits)).refused is None
        assert (await other.enter("alice", "2", limits)).refused == "running"
        one.spend("alice", "1", 500)
        await one.leave("alice", "1")
        entered = await other.enter("alice", "3", limits)
        assert entered.refused == "tokens"
        assert entered.levels["requests"].level == pytest.approx(2, abs=0.5)


@needs_redis
async def test_redis_learns_no_names_of_clients(tmp_path: Path) -> None:
    async with replicas(tmp_path, 1) as (store,):
        await store.records.put(KIND, page("1", "alice"), 60, 10)
        await store.quotas.enter("alice", "1", Limits(running=1))
        from redis import Redis

        with Redis.from_url(f"unix://{tmp_path}/r.sock") as client:
            keys = b" ".join(client.keys())
    assert b"page" in keys
    assert b"alice" not in keys
