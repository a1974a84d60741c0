"""The batches that run: on this replica, and those of replicas that have died."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2

from dreamr._concurrency import root_cause
from dreamr.errors import DreamrError
from dreamr.runner import SignalQueue
from dreamr.serving.batch import Batch, Concurrency, Progress, read_ahead, read_requests
from dreamr.serving.batch.lines import read_line
from dreamr.serving.gateway.batch_job import BatchJob
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.keys import OWNER_HEADER
from dreamr.serving.gateway.logs import LOG, log
from dreamr.serving.gateway.shared_files import StoredFile
from dreamr.serving.gateway.stored_files import FileStore, Upload
from dreamr.serving.store import Kind, Store, StoredRecord, StoredRun, StoreLost

_KIND = Kind("batch", 1000, 16 * 2**20)  # of all clients, with those that are done
_KEPT = 7 * 86400  # seconds
_END = 60  # seconds that the answers of a batch are kept in the log after its end
_FLUSH = 0.5  # seconds between two reports of answers
_SIGNS = 3  # signs of life within the time after which a replica counts as dead
_PATIENCE = 600.0  # seconds to try to store the end of a batch


@dataclass(slots=True)
class _Sink:
    """Answers and errors in files that grow, and in a log from which another replica goes on."""

    answers: Upload
    problems: Upload
    answered: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    new: list[bytes] = field(default_factory=list)  # steps that the log does not have

    async def restore(self, steps: tuple[bytes, ...]) -> None:
        """Write what another replica has answered."""
        for step in steps:
            name, digest = read_line(step[1:])
            if name in self.answered or name in self.failed:
                continue
            if step.startswith(b"a"):
                await self._answer(name, digest, step[1:])
            else:
                await self._error(name, step[1:])

    async def add_answer(self, custom_id: str, digest: str, line: bytes) -> None:
        await self._answer(custom_id, digest, line)
        self.new.append(b"a" + line)

    async def add_error(self, custom_id: str, line: bytes) -> None:
        await self._error(custom_id, line)
        self.new.append(b"e" + line)

    async def _answer(self, custom_id: str, digest: str, line: bytes) -> None:
        await self.answers.write(line)
        self.answered[custom_id] = digest

    async def _error(self, custom_id: str, line: bytes) -> None:
        await self.problems.write(line)
        self.failed.add(custom_id)


@dataclass(slots=True, eq=False)
class _Running:
    """A batch that runs here.

    Attributes:
        job: The batch.
        run: What was answered before.
        scope: Cancels it.
        canceled: Whether its client has canceled it.
        lost: Whether another replica has taken it over.
        over: Whether its end is stored.
        storing: Held while the batch is stored, so that an old state never replaces a new one.
    """

    job: BatchJob
    run: StoredRun
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    canceled: bool = False
    lost: bool = False
    over: bool = False
    storing: anyio.Lock = field(default_factory=anyio.Lock)

    def cancel(self) -> None:
        """End the batch soon for its client."""
        if not (self.canceled or self.job.over):
            self.job.become("cancelling")
        self.canceled = True
        self.scope.cancel()


class BatchRuns:
    """Runs batches, and keeps them where all replicas find them.

    Only the replica that runs a batch stores its state, so that no old copy replaces a new state.

    Args:
        client: Client of the gateway in this process.
        files: Uploaded files.
        store: Where batches are kept.
        most: Requests of the gateway that run at the same time.
        draining: Whether the gateway is about to stop.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        files: FileStore,
        store: Store,
        most: int,
        draining: Draining,
    ) -> None:
        self._client, self._files, self._store = client, files, store
        self._draining = draining
        self._most = max(1, most // 2)  # single requests find a place beside a batch
        self._here: dict[str, _Running] = {}
        self._new: SignalQueue[_Running] = SignalQueue()

    @property
    def lost(self) -> bool:
        """Whether the store is lost, so that it does not know all batches."""
        return self._store.lost

    async def run(self) -> None:
        """Run batches, also those of dead replicas, until canceled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_over)
            while True:
                tasks.start_soon(self._run, await self._new.get())

    async def begin(self, job: BatchJob) -> bool:
        """Begin a batch; return whether there was room for it."""
        run = StoredRun(job.id, job.owner, b"")
        if not await self._store.batches.open(run, _END):
            return False
        with anyio.CancelScope(shield=True):  # what is held must run; the store's time is bounded
            await self._put(job)
        self._start(job, run)
        return True

    async def find(self, name: str, owner: str) -> BatchJob | None:
        """Return a batch of a client, None if it has none of this name."""
        if (here := self._held(name)) is not None:
            return here.job if here.job.owner == owner else None
        found = await self._store.records.get(_KIND, name, owner)
        return None if found is None else BatchJob.read(found.content)

    async def all(self, owner: str) -> list[BatchJob]:
        """Return the batches of a client, the latest first."""
        kept = [BatchJob.read(one.content) for one in await self._store.records.all(_KIND, owner)]
        here = {name: one.job for name, one in self._here.items() if not one.lost}
        return [here.get(job.id, job) for job in reversed(kept)]

    async def cancel(self, job: BatchJob) -> BatchJob:
        """Cancel a batch, and return it as it is then; what is answered is kept."""
        if (here := self._held(job.id)) is not None:
            here.cancel()
            await self._save(here)
            await self._store.batches.cancel(job.id, job.owner)
            return job
        runs = await self._store.batches.cancel(job.id, job.owner)
        job = await self.find(job.id, job.owner) or job  # it may be over meanwhile
        if job.over:
            return job
        if runs or self._store.lost:
            job.become("cancelling")  # the replica that runs it stores this
        else:
            job.become("cancelled")
            await self._put(job)
        return job

    def _held(self, name: str) -> _Running | None:
        here = self._here.get(name)
        return None if here is None or here.lost else here

    def _start(self, job: BatchJob, run: StoredRun) -> None:
        found = self._here[job.id] = _Running(job, run)
        self._new.put(found)

    async def _take_over(self) -> None:
        """Look for batches of dead replicas, until canceled."""
        while True:
            while (run := await self._store.batches.take_over()) is not None:
                found = await self._store.records.get(_KIND, run.name, run.owner)
                if found is None or (job := BatchJob.read(found.content)).over:
                    try:
                        await self._store.batches.append(run.name, [], [], ended=True)
                    except StoreLost:  # so it is not known what there is: look again later
                        await self._store.batches.give_back(run.name)
                    continue
                log(logging.INFO, "%s goes on here after %d answers", run.name, len(run.steps))
                self._start(job, run)
            await anyio.sleep(self._store.batches.lease / _SIGNS)

    async def _run(self, here: _Running) -> None:
        job = here.job
        if here.run.canceled:
            here.cancel()
        try:
            try:
                await self._work(here)
            except Exception as error:  # other batches go on
                job.problem = _problem(error)
                if not (here.over or here.lost):
                    await self._end(here, [])
        finally:
            if not (here.over or here.lost):  # its end may not be stored: it goes on later
                with anyio.CancelScope(shield=True):  # the store answers in bounded time
                    await self._store.batches.give_back(job.id)
            if self._here.get(job.id) is here:
                del self._here[job.id]
        about = (job.owner, job.status, job.done - job.failed, job.failed)
        log(logging.INFO, "%s batch %s: %d answered, %d failed", *about, id=job.id)

    async def _work(self, here: _Running) -> None:
        """Answer the requests of a batch, and store the answers and its end."""
        files, owner = self._files, here.job.owner
        async with files.upload(owner) as out, files.upload(owner) as errors:
            sink = _Sink(out, errors)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hold, here, sink)
                tasks.start_soon(self._keep_file, here)
                await self._answer(here, sink)
                if not here.lost:
                    await self._finish(here, sink)
                tasks.cancel_scope.cancel()

    async def _hold(self, here: _Running, sink: _Sink) -> None:
        """Store answers as they come, and give signs of life, until the batch is over."""
        count = 0
        while not (here.over or here.lost):
            before = count, here.canceled
            if await self._append(here, sink.new) == "canceled":
                here.cancel()
            count = here.job.done
            if (count, here.canceled) != before and not here.job.over:
                await self._save(here)
            await anyio.sleep(min(_FLUSH, self._store.batches.lease / _SIGNS))

    async def _keep_file(self, here: _Running) -> None:
        """Keep the requests of a batch until it is over, for replicas that may take it over."""
        due, file = 0.0, here.job.file
        while not (here.over or here.lost):
            if anyio.current_time() >= due and await self._files.prolong(file):
                due = anyio.current_time() + file.lasts / _SIGNS
            await anyio.sleep(_FLUSH)

    async def _answer(self, here: _Running, sink: _Sink) -> None:
        job, path = here.job, None
        try:
            await sink.restore(here.run.steps)  # also of a canceled batch
            with here.scope:
                if here.canceled:
                    here.scope.cancel()
                else:
                    job.become("in_progress")
                before = len(sink.failed)

                def progress(found: Progress) -> None:
                    job.done, job.failed = found.done, before + found.failed

                path = await self._path(job.file)
                await Batch(
                    read_ahead(read_requests(path, job.body.endpoint)),
                    self._client,
                    sink,
                    Concurrency(self._most),
                    {OWNER_HEADER: job.owner},
                    on_progress=progress,
                    draining=lambda: self._draining.begun,
                ).run()
        except FileNotFoundError:
            job.problem = f"{job.file.name} was deleted"
        except Exception as error:
            job.problem = _problem(error).replace(str(path), job.file.name)

    async def _path(self, file: StoredFile) -> Path:
        """Return the path of a file, which has to wait while the store is lost.

        Raises:
            ApiError: If the file was deleted (404).
        """
        while True:
            lost, losses = self._store.lost, self._store.losses
            try:
                return await self._files.path(file)
            except ApiError:
                if not lost and self._store.losses == losses:
                    raise
            await anyio.sleep(_FLUSH)

    async def _finish(self, here: _Running, sink: _Sink) -> None:
        job = here.job
        name = job.file.name.removesuffix(".jsonl")
        try:
            if sink.answered:
                job.output = await self._keep(here, sink, sink.answers, f"{name}.answers.jsonl")
            if sink.failed:
                job.errors = await self._keep(here, sink, sink.problems, f"{name}.errors.jsonl")
        except Exception as error:
            job.problem = _problem(error)
        await self._end(here, sink.new)

    async def _keep(self, here: _Running, sink: _Sink, upload: Upload, name: str) -> str:
        """Keep a file where the batch is kept, again if the store was lost meanwhile."""
        with anyio.move_on_after(_PATIENCE):
            while True:
                while await self._append(here, sink.new) is None:
                    await anyio.sleep(_FLUSH)
                losses = self._store.losses
                file = await upload.keep(name, "batch_output", None)
                if self._store.losses == losses:
                    return file.id
        return (await upload.keep(name, "batch_output", None)).id  # for clients of this replica

    async def _end(self, here: _Running, new: list[bytes]) -> None:
        """Store how a batch has ended."""
        if here.job.problem:
            here.job.become("failed")
        else:
            here.job.become("cancelled" if here.canceled else "completed")
        with anyio.move_on_after(_PATIENCE):
            await self._save(here)
            while await self._append(here, new, ended=True) is None:
                await anyio.sleep(_FLUSH)
                await self._save(here)  # the store may have been lost before

    async def _append(self, here: _Running, new: list[bytes], *, ended: bool = False) -> str | None:
        """Keep new answers; return what became of it, None if the store is lost."""
        found, append = "kept", self._store.batches.append
        async with here.storing:
            if here.over:
                return found
            try:
                for some in _chunks(new[:]):
                    found = await append(here.job.id, [], some)
                    del new[: len(some)]
                if ended:
                    found = await append(here.job.id, [], [], ended=True)
                    here.over = True
            except StoreLost:
                return None
        if found == "lost":
            here.lost = True
            here.scope.cancel()
        return found

    async def _save(self, here: _Running) -> None:
        async with here.storing:
            if not here.lost:  # another replica stores it
                await self._put(here.job)

    async def _put(self, job: BatchJob) -> None:
        content = job.dumped()
        await self._store.records.put(
            _KIND, StoredRecord(job.id, job.owner, content), _KEPT, len(content)
        )


def _problem(error: Exception) -> str:
    """Return what a client sees of the error that ended its batch."""
    cause = root_cause(error) if isinstance(error, ExceptionGroup) else error
    if isinstance(cause, DreamrError):
        return str(cause)
    LOG.exception("internal error", exc_info=error)
    return "internal error; see the server's log"


def _chunks(steps: list[bytes]) -> Iterator[list[bytes]]:
    """Yield steps in groups of bounded size, at least one of them."""
    group, size = [], 0
    for step in steps:
        group.append(step)
        size += len(step)
        if size > 2**20:
            yield group
            group, size = [], 0
    if group or not steps:
        yield group
