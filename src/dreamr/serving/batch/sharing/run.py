"""Run a process's part of a shared batch."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2

from dreamr._concurrency import root_cause
from dreamr._files import open_binary
from dreamr.serving.batch.concurrency import Concurrency
from dreamr.serving.batch.errors import BatchError, FileInUse
from dreamr.serving.batch.journal import Journal
from dreamr.serving.batch.lines import read_line
from dreamr.serving.batch.options import BatchOptions
from dreamr.serving.batch.requests import BatchRequest, read_requests
from dreamr.serving.batch.run import Batch, Progress, check_same
from dreamr.serving.batch.sharing.job import SharedJob
from dreamr.serving.batch.sharing.link import PASSWORD, connect
from dreamr.serving.batch.sharing.mirror import Mirror
from dreamr.serving.batch.summary import Summary

_LEAVING = 3.0  # seconds to give held requests back
_CREATING = 60.0  # seconds to wait for the process that creates the job
_POLL = 0.25


@dataclass(frozen=True, slots=True)
class SharedBatch:
    """A process's part of a shared batch.

    Attributes:
        options: Files and limits.
        job: The job in Redis.
    """

    options: BatchOptions
    job: SharedJob

    async def run(
        self, client: httpx2.AsyncClient, on_progress: Callable[[Progress], None] = lambda _: None
    ) -> Summary:
        """Answer requests until the job is done, and return the figures of the whole job.

        Args:
            client: Client of the gateway.
            on_progress: Called with the progress of the whole job.

        Raises:
            BatchError: If Redis or the job is lost, or the requests cannot be read.
            Unwritable: If an answer cannot be written.
        """
        concurrency = Concurrency(self.options.max_concurrency)
        batch = Batch(self.job.requests(), client, self.job, concurrency)
        mirror = Mirror(self.job, self.options, on_progress, lambda: concurrency.limit)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.job.hold)
                tasks.start_soon(batch.run)
                summary = await mirror.run()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
        return summary


@asynccontextmanager
async def join(options: BatchOptions) -> AsyncIterator[SharedBatch]:
    """Join the shared job that the options name; create it if there is none.

    At the end, requests that this process holds are left to others.

    Args:
        options: Files and limits, with `share`.

    Raises:
        BatchError: If Redis cannot be reached, or the job or the files are those of other requests.
        Unwritable: If a file cannot be written.
    """
    assert options.share is not None
    digest, total = await anyio.to_thread.run_sync(_digest, options.requests)
    async with connect(options.share, os.environ.get(PASSWORD)) as link:
        job = SharedJob(link, options.job_name, options.requests, options.takeover_seconds)
        await _find_or_create(job, options, digest, total)
        if options.retry:
            await job.retry()
        try:
            yield SharedBatch(options, job)
        finally:
            with anyio.move_on_after(_LEAVING, shield=True):
                await _leave(job)


async def _find_or_create(job: SharedJob, options: BatchOptions, digest: str, total: int) -> None:
    """Wait for the job or create it, of the requests that the file of answers lacks."""
    end = anyio.current_time() + _CREATING
    while not await job.find(digest, total):
        try:
            with Journal(options) as journal:
                waiting, done = await anyio.to_thread.run_sync(_divided, options, journal)
                await job.create(digest, total, waiting, _answers(options.out, done))
        except FileInUse:  # by a process that creates the job, as a rule
            if anyio.current_time() > end:
                raise
            await anyio.sleep(_POLL)


def _divided(options: BatchOptions, journal: Journal) -> tuple[list[int], set[str]]:
    """Return the numbers of the requests to answer, and the ids of those that are answered."""
    waiting: list[int] = []
    done: set[str] = set()
    for number, request in enumerate(read_requests(options.requests)):
        if request.custom_id not in journal.answered:
            waiting.append(number)
            continue
        if isinstance(request, BatchRequest):
            check_same(journal, request.custom_id, request.digest)
        done.add(request.custom_id)
    return waiting, done


async def _leave(job: SharedJob) -> None:
    try:
        await job.give_back()
    except BatchError:
        return  # others take over after a while


def _answers(path: Path, ids: set[str]) -> Iterator[bytes]:
    """Yield a line of answer to each of these requests: the job counts them."""
    left = set(ids)
    if not left:
        return
    with open_binary(path) as file:
        for line in file:
            if (name := read_line(line)[0]) in left:
                left.remove(name)
                yield line


def _digest(path: Path) -> tuple[str, int]:
    """Return the digest of all requests of a file, and their number."""
    found, count = blake2b(digest_size=16), 0
    for request in read_requests(path):
        count += 1
        what = request.digest if isinstance(request, BatchRequest) else request.message
        found.update(
            f"{len(request.custom_id)}:{request.custom_id}{what}\n".encode("utf-8", "replace")
        )
    return found.hexdigest(), count
