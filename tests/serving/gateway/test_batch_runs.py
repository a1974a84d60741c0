"""Batches that run: what is kept of them is what the replica that runs them last knew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest

from dreamr.serving.gateway.batch_job import BatchBody, BatchJob
from dreamr.serving.gateway.batch_runs import BatchRuns
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.shared_files import StoredFile
from dreamr.serving.gateway.stored_files import FileStore, Upload
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Appended, Kind, StoredRecord, StoredRun, StoreLost
from dreamr.serving.store.memory import MemoryRecords, MemoryRunLogs, MemoryStore
from support.redis_server import RedisServer, needs_redis

pytestmark = pytest.mark.anyio
URL = "/v1/chat/completions"
LINE = {"custom_id": "r", "method": "POST", "url": URL, "body": {"messages": []}}
SECONDS = 30


@dataclass(eq=False)
class Gateways:
    """Two replicas with one store, whose requests wait until `answering` is set."""

    store: MemoryStore = field(default_factory=MemoryStore)
    answering: anyio.Event = field(default_factory=anyio.Event)
    refusals: int = 0  # while draining, before it ends

    def __post_init__(self) -> None:
        transport = httpx2.MockTransport(self._answer)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://gateway")
        self.files = FileStore(ServeOptions())
        self.draining = Draining()
        self.one, self.other = (
            BatchRuns(self.client, self.files, self.store, 8, self.draining) for _ in range(2)
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        await self.answering.wait()
        self.refusals -= self.draining.begun
        if not self.refusals:
            self.draining.begun = False
        if self.draining.begun:
            return httpx2.Response(503, json={"error": {"type": "server_error", "message": ""}})
        return httpx2.Response(200, json={"id": "chat"})

    async def begin(self) -> BatchJob:
        """Begin a batch at the first one."""
        async with self.files.upload("alice") as upload:
            await upload.write(json.dumps(LINE).encode() + b"\n")
            file = await upload.keep("work.jsonl", "batch", None)
        body = BatchBody.model_validate({"input_file_id": file.id, "endpoint": URL})
        job = BatchJob("alice", body, file, 1)
        assert await self.one.begin(job)
        return job

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BatchJob]:
        """Run both, with a batch at the first one."""
        async with self.client, anyio.create_task_group() as tasks:
            tasks.start_soon(self.one.run)
            tasks.start_soon(self.other.run)
            with anyio.fail_after(SECONDS):
                yield await self.begin()
            tasks.cancel_scope.cancel()

    async def kept(self, job: BatchJob) -> BatchJob:
        """Return a batch as the replica that does not run it finds it."""
        found = await self.other.find(job.id, job.owner)
        assert found is not None
        return found

    async def over(self, job: BatchJob) -> BatchJob:
        """Wait until the batch does not run any more, and return what is kept of it."""
        while job.id in self.one._here:
            await anyio.sleep(0.01)
        return await self.kept(job)


class SlowToCancel(MemoryRunLogs):
    """Logs whose reply to a cancellation comes after the end of the run."""

    async def cancel(self, name: str, owner: str) -> bool:
        found = await super().cancel(name, owner)
        with anyio.move_on_after(SECONDS / 2):
            while self._logs[name].ended is None:
                await anyio.sleep(0)
        return found


class SlowToKeep(MemoryRecords):
    """Records of which those that are not the last of a batch take a while."""

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        if kind.name == "batch" and not BatchJob.read(record.content).over:
            for _ in range(1000):
                await anyio.sleep(0)
        return await super().put(kind, record, seconds, size)


async def test_requests_that_a_gateway_refuses_while_it_stops_do_not_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dreamr.serving.batch.run._PAUSE", (0, 0))
    gateways = Gateways(refusals=100)
    gateways.draining.begun = True
    async with gateways.running() as job:
        gateways.answering.set()
        found = await gateways.over(job)
        assert (found.done, found.failed) == (1, 0)


class FailingFiles(FileStore):
    """Files of which the next one cannot be opened, or one of the next two not be kept."""

    failing = ""

    def upload(self, owner: str) -> Upload:
        if self.failing == "open":
            self.failing = ""
            raise OSError("no file descriptors")
        return super().upload(owner)

    async def keep(
        self, upload: Upload, name: str, purpose: str, seconds: int | None
    ) -> StoredFile:
        if self.failing == "keep":
            self.failing = ""
            raise OSError("no file descriptors")
        return await super().keep(upload, name, purpose, seconds)


@pytest.mark.parametrize("failing", ["open", "keep"])
async def test_an_unexpected_error_ends_one_batch_only(failing: str) -> None:
    gateways = Gateways()
    gateways.one._files = files = FailingFiles(ServeOptions())
    gateways.files = files
    async with gateways.running() as job:
        files.failing = failing
        gateways.answering.set()
        found = await gateways.over(job)
        assert (found.status, found.output) == ("failed", None)
        assert found.problem == "internal error; see the server's log"
        assert (await gateways.over(await gateways.begin())).status == "completed"


class LostWhileKeeping(MemoryStore):
    """A store that other replicas share, and that is lost when a file is kept."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.records, self.failing, self.lost, self.losses = Forgetful(self), False, False, 0
        self.batches = Logs(self)


class Logs(MemoryRunLogs):
    """Logs of batches that nothing can be added to while the store is lost."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store

    async def append(
        self, name: str, events: Sequence[bytes], steps: Sequence[bytes], *, ended: bool = False
    ) -> Appended:
        if self._store.lost:
            raise StoreLost("lost")
        return await super().append(name, events, steps, ended=ended)


class Forgetful(MemoryRecords):
    """Records of which other replicas do not see those that are kept while the store is lost."""

    def __init__(self, store: LostWhileKeeping) -> None:
        super().__init__()
        self._store = store

    async def put(self, kind: Kind, record: StoredRecord, seconds: float, size: int) -> bool:
        if self._store.failing and kind.name == "file":
            self._store.failing, self._store.lost = False, True
            self._store.losses += 1
        return self._store.lost or await super().put(kind, record, seconds, size)


async def test_the_answers_of_a_batch_are_found_elsewhere_if_the_store_was_lost() -> None:
    gateways = Gateways(store := LostWhileKeeping())
    gateways.files = FileStore(ServeOptions(), store=store)
    gateways.one._files = gateways.files
    async with gateways.running() as job:
        store.failing = True
        gateways.answering.set()
        while not store.lost:
            await anyio.sleep(0.01)
        store.lost = False
        found = await gateways.over(job)
        assert (found.status, found.output is not None) == ("completed", True)
        elsewhere = FileStore(ServeOptions(), store=store)
        file = await elsewhere.find(found.output or "", "alice")
        (line,) = (await elsewhere.content(file)).splitlines()
        assert json.loads(line)["custom_id"] == "r"


@needs_redis
async def test_a_batch_whose_end_could_not_be_stored_goes_on_once_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamr.serving.gateway.batch_runs._PATIENCE", 0.1)
    redis = pytest.importorskip("dreamr.serving.store.redis")
    with RedisServer(tmp_path) as server:
        store, elsewhere = (redis.RedisStore(server.url, lease=0.5) for _ in range(2))
        gateways = Gateways(store)
        seen = BatchRuns(gateways.client, gateways.files, elsewhere, 8, gateways.draining)
        async with gateways.running() as job, anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            server.kill()
            gateways.answering.set()
            while job.id in gateways.one._here:
                await anyio.sleep(0.01)
            server.start()
            while not ((found := await seen.find(job.id, "alice")) and found.over):
                await anyio.sleep(0.1)
            assert (found.status, found.done) == ("completed", 1)
            tasks.cancel_scope.cancel()
        for one in (store, elsewhere):
            await one.aclose()


class Left(Logs):
    """Logs of batches that another replica has left; the store is lost when one is taken over."""

    lease = 0.03

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.left: list[str] = []
        self.losses = 1

    async def take_over(self) -> StoredRun | None:
        if not self.left:
            return None
        self._store.lost = self.losses > 0
        self.losses -= 1
        return self._logs[self.left.pop()].run

    async def give_back(self, name: str) -> None:
        self.left.append(name)


class Unseen(MemoryRecords):
    """Records that cannot be seen while the store is lost."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store

    async def get(self, kind: Kind, name: str, owner: str) -> StoredRecord | None:
        return None if self._store.lost else await super().get(kind, name, owner)


async def test_a_batch_is_taken_over_though_the_store_was_lost_meanwhile() -> None:
    gateways = Gateways()
    store = gateways.store
    store.batches = logs = Left(store)
    store.records = Unseen(store)
    gateways.answering.set()
    with anyio.fail_after(SECONDS):
        job = await gateways.begin()
        logs.left.append(job.id)
        async with gateways.client, anyio.create_task_group() as tasks:
            tasks.start_soon(gateways.other.run)
            while not (await gateways.kept(job)).over:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert (await gateways.kept(job)).status == "completed"


@pytest.mark.parametrize("slow", ["logs", "records"])
async def test_a_batch_that_is_canceled_where_it_runs_is_cancelled_in_the_end(slow: str) -> None:
    gateways = Gateways()
    if slow == "logs":
        gateways.store.batches = SlowToCancel()
    else:
        gateways.store.records = SlowToKeep()
    async with gateways.running() as job:
        assert (await gateways.one.cancel(job)).status in ("cancelling", "cancelled")
        assert (await gateways.over(job)).status == job.status == "cancelled"


async def test_a_batch_that_is_canceled_elsewhere_is_cancelled_in_the_end() -> None:
    gateways = Gateways()
    async with gateways.running() as job:
        seen = await gateways.kept(job)
        assert (await gateways.other.cancel(seen)).status == "cancelling"
        assert (await gateways.over(job)).status == "cancelled"
        assert "cancelling_at" in (await gateways.kept(job)).times


async def test_a_batch_that_is_canceled_elsewhere_after_its_end_keeps_its_answers() -> None:
    gateways = Gateways()
    async with gateways.running() as job:
        seen = await gateways.kept(job)
        assert not seen.over
        gateways.answering.set()
        assert (await gateways.over(job)).status == "completed"
        for canceled in (await gateways.other.cancel(seen), await gateways.kept(job)):
            assert (canceled.status, canceled.output) == ("completed", job.output)
        assert job.output is not None


async def test_a_batch_that_no_replica_runs_can_be_canceled() -> None:
    gateways = Gateways()
    async with gateways.running() as job:
        seen = await gateways.kept(job)
        gateways.store.batches = MemoryRunLogs()
        assert (await gateways.other.cancel(seen)).status == "cancelled"
        assert (await gateways.kept(job)).status == "cancelled"


async def test_a_batch_that_another_replica_took_over_is_not_stored_here_any_more() -> None:
    gateways = Gateways()
    async with gateways.running() as job:
        await gateways.store.batches.give_back(job.id)  # its log is another's from now on
        job.done = 1
        assert (await gateways.over(job)).done == 0
        found = await gateways.one.find(job.id, "alice")
        assert found is not None
        assert found.done == 0
