"""Run a batch: send its requests to a gateway in this process, and keep the answers.

The requests go through the same code as those of `dreamr serve`, so that a body means the same in
both.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice

import anyio
import anyio.to_thread
import httpx2

from dreamr._concurrency import root_cause
from dreamr._reasoner import Reasoner
from dreamr.conversation import MAX_BYTES
from dreamr.serving.batch.concurrency import Concurrency
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.batch.files import LocalFiles
from dreamr.serving.batch.journal import Journal
from dreamr.serving.batch.options import BatchOptions
from dreamr.serving.batch.requests import BatchRequest, InvalidRequest, read_requests
from dreamr.serving.batch.summary import Summary
from dreamr.serving.gateway import build_app
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.options import ServeOptions

_AHEAD = 64  # lines that are read at a time
_DEADLINE = 86400.0  # seconds of a request
_TRIES = 8  # of a request that finds no room or no model
_PAUSE = 1.0, 60.0  # seconds before another try, first and longest
_BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a batch.

    Attributes:
        done: Requests of the file that are answered, failed or skipped.
        concurrency: Requests that may run at the same time.
        failed: Errors among them.
    """

    done: int
    concurrency: int
    failed: int


async def run_batch(
    options: BatchOptions,
    reasoner: Reasoner,
    journal: Journal,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Summary:
    """Answer the requests of a file that are not answered yet.

    Args:
        options: Files and limits.
        reasoner: An open Reasoner.
        journal: The open files of answers and errors.
        on_progress: Called after each request.

    Raises:
        BatchError: If the requests cannot be read, or one is not the one that was answered.
        Unwritable: If an answer cannot be written.
    """
    batch = _Batch(options, reasoner, journal, on_progress)
    start = time.monotonic()
    try:
        async with batch.client:
            await batch.run()
    except BaseExceptionGroup as group:
        raise root_cause(group) from None
    batch.summary.seconds = time.monotonic() - start
    return batch.summary


class _Batch:
    def __init__(
        self,
        options: BatchOptions,
        reasoner: Reasoner,
        journal: Journal,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._options, self._journal, self._on_progress = options, journal, on_progress
        self._concurrency = Concurrency(options.max_concurrency)
        self._running = 0
        self._freed = anyio.Event()
        self.summary = Summary()
        self.client = _client(options, reasoner)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks, aclosing(_ahead(self._options)) as requests:
            async for request in requests:
                if self._is_done(request):
                    self.summary.skipped += 1
                elif isinstance(request, InvalidRequest):
                    self._fail(request.custom_id, "", "invalid_request", request.message, 400)
                else:
                    await self._room()
                    self._running += 1
                    tasks.start_soon(self._answer, request)
                self._show()

    async def _room(self) -> None:
        while self._running >= self._concurrency.limit:
            self._freed = anyio.Event()
            await self._freed.wait()

    def _is_done(self, request: BatchRequest | InvalidRequest) -> bool:
        name, journal = request.custom_id, self._journal
        if name in journal.failed:
            return True
        if name not in journal.answered:
            return False
        if isinstance(request, BatchRequest) and journal.answered[name] != request.digest:
            raise BatchError(
                f"the request {name} of {self._options.requests} is not the one that "
                f"{self._options.out} answers: name another file with --out"
            )
        return True

    async def _answer(self, request: BatchRequest) -> None:
        try:
            response = await self._sent(request)
            body = response.json()
            if response.status_code == httpx2.codes.OK:
                self._journal.answer(request.custom_id, request.digest, 200, body)
                self.summary.add(body)
                self._concurrency.answered(time.monotonic())
            else:
                error = body["error"]
                self._fail(
                    request.custom_id,
                    request.digest,
                    error.get("code") or error["type"],
                    error["message"],
                    response.status_code,
                )
        finally:
            self._running -= 1
            self._freed.set()
        self._show()

    async def _sent(self, request: BatchRequest) -> httpx2.Response:
        """Send a request, again after a pause where there was no room or a model was lost."""
        pause = _PAUSE[0]
        for left in reversed(range(_TRIES)):
            response = await self.client.post(request.url, json=request.body)
            if response.status_code not in _BUSY or not left:
                break
            self._concurrency.refused()
            await anyio.sleep(max(pause, _seconds(response.headers.get("retry-after"))))
            pause = min(2 * pause, _PAUSE[1])
        return response

    def _fail(self, custom_id: str, digest: str, code: str, message: str, status: int) -> None:
        self._journal.error(custom_id, digest, code, message, status)
        self.summary.failed += 1

    def _show(self) -> None:
        found = self.summary
        done = found.answered + found.failed + found.skipped
        self._on_progress(Progress(done, self._concurrency.limit, found.failed))


def _client(options: BatchOptions, reasoner: Reasoner) -> httpx2.AsyncClient:
    """Return a client of a gateway in this process, which reads the files beside the requests."""
    limits = ServeOptions(
        max_running=options.max_concurrency,
        max_waiting=options.max_concurrency,
        deadline=_DEADLINE,
        max_body=2 * MAX_BYTES,
        max_total_body=16 * MAX_BYTES,
        log_level="error",
    )
    files = LocalFiles(options.requests.resolve().parent)
    media = MediaFetcher(limits, files, fit=lambda: reasoner.models.image_pixels)
    app = build_app(reasoner, limits, media=media)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 0))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None)


async def _ahead(
    options: BatchOptions,
) -> AsyncGenerator[BatchRequest | InvalidRequest, None]:
    """Yield the requests, which are read in a thread, some lines ahead."""
    lines = read_requests(options.requests)
    while some := await anyio.to_thread.run_sync(_take, lines):
        for request in some:
            yield request


def _take(
    lines: Iterator[BatchRequest | InvalidRequest],
) -> list[BatchRequest | InvalidRequest]:
    return list(islice(lines, _AHEAD))


def _seconds(value: str | None) -> float:
    return float(value) if value and value.isdigit() else 0.0
