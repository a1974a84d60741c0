"""Run a batch: send its requests to a gateway, and keep the answers.

The requests go through the same code as those of `dreamr serve`, so that a body means the same in
both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import anyio
import anyio.to_thread
import httpx2

from dreamr._concurrency import root_cause
from dreamr.serving.batch.concurrency import Concurrency
from dreamr.serving.batch.errors import BatchError
from dreamr.serving.batch.lines import answer_line, error_line
from dreamr.serving.batch.requests import BatchRequest, InvalidRequest
from dreamr.serving.batch.summary import Summary

_AHEAD = 64  # lines that are read at a time
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


class AnswerSink(Protocol):
    """Where the lines of answers and errors go.

    Attributes:
        answered: Digests of the answered requests, by id.
        failed: Ids of the requests that ended in an error.
    """

    answered: dict[str, str]
    failed: set[str]

    async def add_answer(self, custom_id: str, digest: str, line: bytes) -> None:
        """Keep the line of an answer."""
        ...

    async def add_error(self, custom_id: str, line: bytes) -> None:
        """Keep the line of an error."""
        ...


@dataclass(slots=True)
class Batch:
    """The requests that are not answered yet, sent to a gateway.

    Attributes:
        requests: The requests.
        client: Client of the gateway.
        sink: Where answers and errors go, with those from before.
        concurrency: How many requests run at the same time.
        headers: Headers of each request.
        on_progress: Called after each request.
        draining: Returns whether the gateway is about to stop, so that it refuses all requests.
        summary: Figures so far.
    """

    requests: AsyncGenerator[BatchRequest | InvalidRequest, None]
    client: httpx2.AsyncClient
    sink: AnswerSink
    concurrency: Concurrency
    headers: Mapping[str, str] = field(default_factory=dict)
    on_progress: Callable[[Progress], None] = lambda _: None
    draining: Callable[[], bool] = lambda: False
    summary: Summary = field(default_factory=Summary)
    _running: int = 0
    _freed: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> Summary:
        """Answer all requests and return the figures.

        Raises:
            BatchError: If the requests cannot be read, or one is not the one that was answered.
            Unwritable: If an answer cannot be written.
        """
        start = anyio.current_time()
        try:
            async with anyio.create_task_group() as tasks, aclosing(self.requests) as requests:
                async for request in requests:
                    if self._is_done(request):
                        self.summary.skipped += 1
                    elif isinstance(request, InvalidRequest):
                        await self._fail(request.custom_id, "", "invalid_request", request.message)
                    else:
                        await self._room()
                        self._running += 1
                        tasks.start_soon(self._answer, request)
                        continue
                    self._show()
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
        finally:
            self.summary.seconds = anyio.current_time() - start
        return self.summary

    async def _room(self) -> None:
        while self._running >= self.concurrency.limit:
            self._freed = anyio.Event()
            await self._freed.wait()

    def _is_done(self, request: BatchRequest | InvalidRequest) -> bool:
        name = request.custom_id
        if name in self.sink.failed:
            return True
        if name not in self.sink.answered:
            return False
        if isinstance(request, BatchRequest):
            check_same(self.sink, name, request.digest)
        return True

    async def _answer(self, request: BatchRequest) -> None:
        try:
            response = await self._sent(request)
            body, name, digest = response.json(), request.custom_id, request.digest
            if response.status_code == httpx2.codes.OK:
                await self.sink.add_answer(name, digest, answer_line(name, digest, body))
                self.summary.add(body)
                self.concurrency.answered(anyio.current_time())
            else:
                error = body["error"]
                code = error.get("code") or error["type"]
                await self._fail(name, digest, code, error["message"], response.status_code)
        finally:
            self._running -= 1
            self._freed.set()
        self._show()

    async def _sent(self, request: BatchRequest) -> httpx2.Response:
        """Send a request, again after a pause where there was no room or a model was lost."""
        pause, headers = _PAUSE[0], {"content-type": "application/json", **self.headers}
        tries = 0
        while True:
            response = await self.client.post(request.url, content=request.body, headers=headers)
            if not self.draining():  # else another gateway will answer the request
                tries += 1
            if response.status_code not in _BUSY or tries == _TRIES:
                return response
            self.concurrency.refused()
            await anyio.sleep(max(pause, _seconds(response.headers.get("retry-after"))))
            pause = min(2 * pause, _PAUSE[1])

    async def _fail(
        self, custom_id: str, digest: str, code: str, message: str, status: int = 400
    ) -> None:
        line = error_line(custom_id, digest, code, message, status)
        await self.sink.add_error(custom_id, line)
        self.summary.failed += 1

    def _show(self) -> None:
        found = self.summary
        done = found.answered + found.failed + found.skipped
        self.on_progress(Progress(done, self.concurrency.limit, found.failed))


async def read_ahead(
    requests: Iterator[BatchRequest | InvalidRequest],
) -> AsyncGenerator[BatchRequest | InvalidRequest, None]:
    """Yield requests, which are read in a thread, some lines ahead."""
    while some := await anyio.to_thread.run_sync(list, islice(requests, _AHEAD)):
        for request in some:
            yield request


def check_same(sink: AnswerSink, custom_id: str, digest: str) -> None:
    """Check that a request is the one that was answered before under its id.

    Raises:
        BatchError: If it is another.
    """
    if sink.answered[custom_id] != digest:
        raise BatchError(
            f"the request {custom_id} is not the one that was answered before: keep its id and "
            "text together, or write the answers to another file"
        )


def _seconds(value: str | None) -> float:
    return float(value) if value and value.isdigit() else 0.0
