"""Runs that go on without the connection of their client, and on another replica if one dies."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import anyio

from dreamr.errors import DreamrError
from dreamr.runner import SignalQueue
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.responses import (
    PREFIX,
    ResponseReply,
    ResponsesApi,
    ResponseStore,
)
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.deadlines import with_deadline
from dreamr.serving.gateway.endpoint import Access
from dreamr.serving.gateway.errors import ApiError, shortened, store_lost
from dreamr.serving.gateway.job import Job
from dreamr.serving.gateway.keys import Client
from dreamr.serving.gateway.logs import LOG, log
from dreamr.serving.gateway.media import ReceivedMessage
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.metrics import Metrics
from dreamr.serving.gateway.receiving import Receiver
from dreamr.serving.gateway.request_ids import request_id, session_id, set_ids
from dreamr.serving.gateway.run_log import RunLog, event_data
from dreamr.serving.gateway.runs import Runs, public_error
from dreamr.serving.gateway.served_models import ServedModels
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Store, StoredRun, StoreLost
from dreamr.trace import RunFinished

_POLL = 0.25  # seconds between two looks at a run of another replica
_QUIET_SECONDS = 15.0  # a quiet stream sends a comment so that proxies keep the connection
_SIGNS = 3  # signs of life within the time after which a replica counts as dead
_PATIENCE = 600.0  # seconds to try to store the end of a run
_PAUSE = 0.5, 8.0  # seconds between two tries to read a request, first and longest
_API = ResponsesApi()


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """Starts runs, takes over those of dead replicas, and lets clients follow them.

    Attributes:
        served: The models that requests can name.
        receiver: Reads the requests.
        access: Who may send a request.
        metrics: Metrics of the gateway.
        options: Limits of the gateway.
        store: Where runs are stored.
        responses: Keeps the responses.
    """

    served: ServedModels
    receiver: Receiver
    access: Access
    metrics: Metrics
    options: ServeOptions
    store: Store
    responses: ResponseStore
    _logs: dict[str, RunLog] = field(default_factory=dict)
    _new: SignalQueue[RunLog] = field(default_factory=SignalQueue)
    _opening: WeakValueDictionary[str, anyio.Lock] = field(default_factory=WeakValueDictionary)

    async def run(self) -> None:
        """Run what clients ask for and what dead replicas left, until canceled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take_over)
            while True:
                tasks.start_soon(self._run, await self._new.get())

    async def begin(self, client: Client, parsed: ParsedRequest, name: str) -> str:
        """Begin a run, unless its client has it already, and return the id of its response.

        Args:
            client: Who asked for it.
            parsed: The request.
            name: Name of the run, which attempts at the same request share.

        Raises:
            ApiError: If there are too many (429).
        """
        body: bytes = parsed.more.background
        about = {
            "created": time.time(), "deadline": parsed.deadline, "body": body.decode(),
            "request": request_id(), "session": session_id(),
        }  # fmt: skip
        run = StoredRun(f"{PREFIX}{name}", client.name, json.dumps(about).encode())
        async with self._opening.setdefault(run.name, anyio.Lock()):
            if run.name in self._logs or await self.has(run.name, client.name):
                return run.name
            if await self.store.runs.open(run, self.options.stored_seconds):
                self._start(run)
            elif not await self.has(run.name, client.name):  # else another replica was quicker
                raise ApiError(
                    429,
                    "too many background responses are not done or kept: wait for one, or cancel "
                    "one",
                    "rate_limit_error",
                    code="too_many_responses",
                    headers={"Retry-After": "10"},
                )
        return run.name

    async def follow(self, name: str, owner: str, first: int) -> AsyncGenerator[bytes, None]:
        """Yield the events of a run, from a number on; comments while there are none.

        Args:
            name: Id of the response.
            owner: Name of the client.
            first: Number of the first event.
        """
        quiet = time.monotonic()
        while True:
            try:
                events, over = await self._next(name, owner, first)
            except ApiError:  # it was deleted meanwhile
                return
            for event in events:
                yield event
            first += len(events)
            if over:
                return
            if events:
                quiet = time.monotonic()
            elif time.monotonic() - quiet > _QUIET_SECONDS:
                quiet = time.monotonic()
                yield _API.keep_alive

    async def has(self, name: str, owner: str) -> bool:
        """Return whether a client has a run.

        Args:
            name: Id of the response.
            owner: Name of the client.
        """
        return await self.store.runs.read(name, owner, 0) is not None

    def unknown(self, name: str) -> ApiError:
        """Return the error of a request for a run that its client has not (404).

        Args:
            name: Id of the response.
        """
        return _unknown(name, lost=self.store.lost)

    async def body(self, name: str, owner: str) -> dict[str, Any]:
        """Return a response as it is now.

        Args:
            name: Id of the response.
            owner: Name of the client.

        Raises:
            ApiError: If the client has no such run (404).
        """
        begun: dict[str, Any] = {}
        first, over, last = 0, False, b""
        while True:
            found = await self.store.runs.read(name, owner, first)
            if found is None:
                raise _unknown(name, lost=self.store.lost)
            events, over = found
            if events and not begun:
                begun = event_data(events[0])["response"]
            last = events[-1] if events else last
            first += len(events)
            if over or not events:
                break
        if over:
            return {**begun, **event_data(last)["response"]}
        return begun or {"id": name, "object": "response", "status": "queued", "output": []}

    async def cancel(self, name: str, owner: str) -> dict[str, Any]:
        """End a run, and return its response.

        Args:
            name: Id of the response.
            owner: Name of the client.

        Raises:
            ApiError: If the client has no such run (404).
        """
        if not await self.store.runs.cancel(name, owner):
            raise _unknown(name, lost=self.store.lost)
        if (own := self._logs.get(name)) is not None:
            own.notify()
        with anyio.move_on_after(2 * self._hold):
            async for _ in self.follow(name, owner, 0):
                pass
        return await self.body(name, owner)

    async def delete(self, name: str, owner: str) -> bool:
        """Forget a run that has ended; return whether the client had it."""
        return await self.store.runs.delete(name, owner)

    async def _next(self, name: str, owner: str, first: int) -> tuple[list[bytes], bool]:
        """Return the next events, after a while at most, and whether the run has ended."""
        own = self._logs.get(name)
        if own is None or own.run.owner != owner or first < own.run.events:
            found = await self.store.runs.read(name, owner, first)
            if found is None and not self.store.lost:
                raise _unknown(name, lost=False)
            events, over = found or ([], False)
            if not events and not over:
                await anyio.sleep(_POLL)
            return list(events), over
        if first >= self._shown(own) and not own.done:
            await own.change(_QUIET_SECONDS)
        shown = self._shown(own)
        return own.events[first:shown], own.ended and shown == len(own.events)

    def _shown(self, own: RunLog) -> int:
        """Return the number of events that clients may see.

        Another replica could write otherwise what the store does not have.
        """
        return len(own.events) if self.store.lost else min(own.flushed, len(own.events))

    def _start(self, run: StoredRun) -> None:
        found = self._logs[run.name] = RunLog(run)
        self._new.put(found)

    async def _take_over(self) -> None:
        """Look for runs of dead replicas, until canceled."""
        while True:
            while (run := await self.store.runs.take_over()) is not None:
                steps = len(run.steps)
                log(logging.INFO, "%s goes on here after %d steps", run.name, steps, id=run.name)
                self._start(run)
            await anyio.sleep(self._hold)

    @property
    def _hold(self) -> float:
        """Seconds between two signs of life, and two looks for runs of dead replicas."""
        return self.store.runs.lease / _SIGNS

    async def _run(self, own: RunLog) -> None:
        """Run a request and store its events; leave it to others if this replica stops."""
        try:
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()
                tasks.start_soon(self._flush, own, scope)
                with scope:
                    await self._answer(own)
                if scope.cancelled_caught and not (own.ended or own.done):
                    own.cancel()
                    self._note(own, own.run.owner, 499)
                with anyio.move_on_after(_PATIENCE):
                    while not own.done:
                        await own.change(_PATIENCE)
                tasks.cancel_scope.cancel()
        except Exception as error:  # other runs go on
            LOG.exception("internal error")
            with suppress(Exception):
                await self._abandon(own, error)
        finally:
            if not own.done:
                with anyio.CancelScope(shield=True):  # the store answers in bounded time
                    await self.store.runs.give_back(own.run.name)
            self._forget(own)
            own.notify()

    def _forget(self, own: RunLog) -> None:
        if self._logs.get(own.run.name) is own:  # not if it was lost and taken over again
            del self._logs[own.run.name]

    async def _abandon(self, own: RunLog, error: Exception) -> None:
        """Store that a run has failed, so that no replica repeats it."""
        if not own.ended:
            own.fail(None, public_error(error, self.served.public))
        left = own.events[own.flushed :]
        await self.store.runs.append(own.run.name, left, own.steps, ended=True)
        own.done = True

    async def _flush(self, own: RunLog, scope: anyio.CancelScope) -> None:
        """Store events as they come, and give signs of life."""
        while not own.done:
            events, steps, ended = own.events[own.flushed :], own.steps[:], own.ended
            try:
                found = await self.store.runs.append(own.run.name, events, steps, ended=ended)
            except StoreLost:
                await own.change(self._hold)
                continue
            if found == "lost":  # clients follow what another replica writes
                self._forget(own)
            else:
                own.flushed += len(events)
                del own.steps[: len(steps)]
            own.done = ended or found == "lost"
            own.notify()
            if found != "kept" and not ended:
                scope.cancel()
            if not own.done and own.flushed >= len(own.events) and not own.ended:
                await own.change(self._hold)

    async def _answer(self, own: RunLog) -> None:
        """Run a request; its events go to the log."""
        reply = None
        try:
            about = json.loads(own.run.request)
            set_ids(about["request"], about["session"])
            client = self.access.keys.named(own.run.owner)
            if client is None:
                raise ApiError(401, "the API key is not valid any more", code="invalid_api_key")
            async with self.access.request(client, again=True) as (quota, lease):
                created = about["created"]
                began = time.perf_counter() - max(0.0, time.time() - created)
                parsed, messages = await self._read(about, client, lease, began)
                runs = self.served.runs_of(parsed.model)
                summary = Summary(parsed, runs.pair.load.alone_seconds)
                reply = ResponseReply(own.run.name, int(created), parsed, summary)
                job = Job(
                    client, parsed, messages, lease, reply, summary, began, quota,
                    self.served.public, committed=own.committed, patient=True,
                )  # fmt: skip
                if own.committed:
                    runs.metrics.resumed("background")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(runs.run, job)
                    await self._write(own, job, reply, runs)
        except Exception as error:
            found = public_error(error, self.served.public)
            if not isinstance(error, DreamrError):
                LOG.exception("internal error")
            self._failed(own, reply, found)

    async def _read(
        self, about: dict[str, Any], client: Client, lease: Lease, began: float
    ) -> tuple[ParsedRequest, tuple[ReceivedMessage, ...]]:
        """Read a request; while others take all memory, try again until its deadline."""
        body, pause = about["body"].encode(), _PAUSE[0]
        ends = began + about["deadline"]
        while True:
            try:
                lease.take_body(len(body))
                parsed = await self.receiver.parse(bytearray(body), _API, lease)
                parsed = replace(with_deadline(parsed, {}, client), deadline=about["deadline"])
                return await self.receiver.receive(parsed, lease, began)
            except ApiError as error:
                if error.code != "overloaded" or time.perf_counter() + pause > ends:
                    raise
            lease.give_body()
            await anyio.sleep(pause)
            pause = min(2 * pause, _PAUSE[1])

    async def _write(self, own: RunLog, job: Job, reply: ResponseReply, runs: Runs) -> None:
        own.add(reply.opening())
        while True:
            match await job.pieces.get():
                case ApiError() as error:
                    self._failed(own, reply, error)
                    return
                case RunFinished(result=result) if result.error is None:
                    prompt = await runs.prompt_tokens(job)
                    closing = own.closing(reply, result, prompt)
                    with anyio.CancelScope(shield=True):  # the store answers in bounded time
                        if reply.kept is not None:  # before its end: clients may continue it then
                            await self.responses.keep(job.client.name, *reply.kept)
                    own.end(closing)
                    runs.metrics.answered(result, time.perf_counter() - job.began, prompt)
                    self._note(own, job.client.name, 200)
                    return
                case event:
                    own.note(reply, event)

    def _failed(self, own: RunLog, reply: ResponseReply | None, error: ApiError) -> None:
        self.metrics.refused(error.status)
        own.fail(reply, error)
        self._note(own, own.run.owner, error.status)

    def _note(self, own: RunLog, client: str, status: int) -> None:
        log(logging.INFO, "%s %d in the background", client, status, id=own.run.name)


def _unknown(name: str, *, lost: bool) -> ApiError:
    if lost:
        return store_lost(f"the response {shortened(name)}")
    return ApiError(
        404,
        f"there is no response {shortened(name)} to follow: it was not begun with background, or "
        "as a stream beside a store, or has expired",
        code="response_not_found",
    )
