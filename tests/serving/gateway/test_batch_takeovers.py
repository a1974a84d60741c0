"""Batches of replicas that have died, which another replica finishes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2
import pytest

from dreamr.serving.batch.lines import answer_line
from dreamr.serving.gateway.batch_job import BatchBody, BatchJob
from dreamr.serving.gateway.batch_runs import BatchRuns
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.stored_files import FileStore
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Kind, StoredRecord, StoredRun
from dreamr.serving.store.memory import MemoryRecords, MemoryRunLogs, MemoryStore

pytestmark = pytest.mark.anyio
URL = "/v1/chat/completions"
LINE = {"custom_id": "r", "method": "POST", "url": URL, "body": {"messages": []}}
SECONDS = 30


class Shared(MemoryStore):
    """A store that other replicas share.

    Attributes:
        now: The time in seconds.
    """

    shared = True

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(lambda: self.now)


class OfDead(MemoryRunLogs):
    """Logs with the run of a replica that has died."""

    def __init__(self, run: StoredRun) -> None:
        super().__init__()
        self._runs = [run]

    async def take_over(self) -> StoredRun | None:
        if not self._runs:
            return None
        await self.open(self._runs[0], 60)
        return self._runs.pop()


@dataclass(eq=False)
class Replica:
    """A replica, whose requests wait until `answering` is set."""

    store: Shared
    asked: anyio.Event = field(default_factory=anyio.Event)
    answering: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        transport = httpx2.MockTransport(self._answer)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://gateway")
        self.files = FileStore(ServeOptions(), lambda: self.store.now, self.store)
        self.runs = BatchRuns(self._client, self.files, self.store, 8, Draining())

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.set()
        await self.answering.wait()
        return httpx2.Response(200, json={"id": "chat"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._client, anyio.create_task_group() as tasks:
            tasks.start_soon(self.runs.run)
            with anyio.fail_after(SECONDS):
                yield
            tasks.cancel_scope.cancel()

    async def job(self) -> BatchJob:
        """Return a batch of one request, whose file is stored."""
        async with self.files.upload("alice") as upload:
            await upload.write(json.dumps(LINE).encode() + b"\n")
            file = await upload.keep("work.jsonl", "batch", None)
        body = BatchBody.model_validate({"input_file_id": file.id, "endpoint": URL})
        return BatchJob("alice", body, file, 1)

    async def over(self, job: BatchJob) -> BatchJob:
        """Wait until a batch is over, and return what is kept of it."""
        while (found := await self.runs.find(job.id, "alice")) is None or not found.over:
            await anyio.sleep(0.01)
        return found


async def leave(store: Shared, job: BatchJob, *steps: bytes, canceled: bool = False) -> None:
    """Leave a batch as a replica that dies does."""
    store.batches = OfDead(StoredRun(job.id, "alice", b"", steps, canceled=canceled))
    record = StoredRecord(job.id, "alice", job.dumped())
    await store.records.put(Kind("batch", 10, 10**6), record, 60, 1)


async def test_a_canceled_batch_that_is_taken_over_keeps_its_answers() -> None:
    replica = Replica(store := Shared())
    job, line = await replica.job(), answer_line("r", "digest", {"id": "chat"})
    await leave(store, job, b"a" + line, canceled=True)
    async with replica.running():
        found = await replica.over(job)
        assert found.status == "cancelled"
        assert found.output is not None
        file = await replica.files.find(found.output, "alice")
        assert await replica.files.content(file) == line


class Losing(MemoryRecords):
    """Records of a store that is lost when a piece of a file is read for the first time."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store

    async def get(self, kind: Kind, name: str, owner: str) -> StoredRecord | None:
        if kind.name == "file-piece" and not self._store.losses:
            self._store.losses, self._store.lost = 1, True
        return None if self._store.lost else await super().get(kind, name, owner)


async def test_a_batch_waits_for_its_file_while_the_store_is_lost() -> None:
    store = Shared()
    store.records = Losing(store)
    job = await Replica(store).job()
    await leave(store, job)
    replica = Replica(store)
    replica.answering.set()
    async with replica.running():
        while not store.lost:
            await anyio.sleep(0.01)
        for _ in range(100):
            await anyio.sleep(0)
        store.lost = False
        found = await replica.over(job)
        assert (found.status, found.problem) == ("completed", "")


async def test_a_batch_keeps_its_file_for_the_replicas_that_may_take_it_over() -> None:
    store = Shared()
    replica, other = Replica(store), Replica(store)
    async with replica.running():
        job = await replica.job()
        store.now = job.file.expires - 1
        later = await replica.job()
        assert await replica.runs.begin(job)
        await replica.asked.wait()
        store.now += 2
        assert await other.files.content(job.file) == json.dumps(LINE).encode() + b"\n"
        assert await other.files.of("alice") == [later.file, job.file], "the latest first"
        replica.answering.set()
        await replica.over(job)
        store.now = 3 * job.file.expires
        assert not await other.files.of("alice")
