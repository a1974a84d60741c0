"""An endpoint that answers requests of one API with runs."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import anyio
from anyio.abc import TaskGroup
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dreamr.errors import DreamrError
from dreamr.serving.gateway.apis.choices import ChoiceEvent
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Api, Identity, ServerEvent
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.attempt_log import AttemptLog, split_events
from dreamr.serving.gateway.attempts import RequestAttempts, digest_of
from dreamr.serving.gateway.deadlines import with_deadline
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.job import Job, Piece
from dreamr.serving.gateway.keys import ApiKeys, Client
from dreamr.serving.gateway.logs import log
from dreamr.serving.gateway.media import ReceivedMessage
from dreamr.serving.gateway.memory import Lease, Memory
from dreamr.serving.gateway.metrics import Metrics, Resumption
from dreamr.serving.gateway.quotas import Quota, Quotas
from dreamr.serving.gateway.receiving import Receiver
from dreamr.serving.gateway.runs import Runs, public_error
from dreamr.serving.gateway.served_models import ServedModels
from dreamr.serving.options import ServeOptions
from dreamr.trace import AnswerExtended, Result, RunFinished, StepCommitted

_STATUS_SECONDS = 1.0  # how long a stream waits for an error that can still become a status
_QUIET_SECONDS = 15.0  # a quiet stream sends a comment so that proxies keep the connection
_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
_CLIENT_CLOSED = 499  # nginx's status for a client that closed the connection


@dataclass(frozen=True, slots=True)
class Access:
    """Who may send a request, and how much; shared by all endpoints.

    Attributes:
        keys: Accepted API keys.
        quotas: Limits of single clients.
        memory: Memory that all requests share.
        draining: Whether the gateway is about to stop.
    """

    keys: ApiKeys
    quotas: Quotas
    memory: Memory
    draining: Draining

    @asynccontextmanager
    async def request(
        self, client: Client, *, again: bool = False
    ) -> AsyncGenerator[tuple[Quota, Lease], None]:
        """Count a request of a client for the duration of the block.

        Args:
            client: The client.
            again: Whether the request was let in before.

        Raises:
            ApiError: If a limit is reached (429).
        """
        async with self.quotas.request(client.name, client.limits, again=again) as quota:
            with self.memory.lease(client.name) as lease:
                yield quota, lease


class Endpoint:
    """An endpoint as an ASGI application.

    The run and the response are separate tasks. A client that reads slowly does not occupy a
    place, and a client that disconnects cancels its run at once.

    Args:
        api: Reads requests and builds responses.
        served: The models that requests can name.
        receiver: Receives the requests.
        access: Who may send a request.
        metrics: Metrics of the gateway.
        options: Limits of the gateway.
        attempts: Begins attempts at requests that can be repeated.

    Attributes:
        path: Path of the endpoint.
        resumption: How requests continue an earlier attempt here, for the metrics.
    """

    resumption: Resumption = "repeated"

    def __init__(
        self,
        api: Api,
        served: ServedModels,
        receiver: Receiver,
        access: Access,
        metrics: Metrics,
        options: ServeOptions,
        attempts: RequestAttempts,
    ) -> None:
        self._attempts = attempts
        self._api, self._served, self._receiver, self._access = api, served, receiver, access
        self._metrics, self._options = metrics, options
        self.path = api.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        began = request.scope.get("state", {}).get("began") or time.perf_counter()
        client = None
        try:
            client = self._access.keys.client(request)
            self._access.draining.check()
            again = await self._attempts.known(self._name(request, client), client.name)
            async with self._access.request(client, again=again) as (quota, lease):
                job = await self._job(request, client, quota, lease, began)
                runs = self._served.runs_of(job.parsed.model)
                apart = await self._apart(job)
                if apart is None:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._await_disconnect, job, receive, tasks.cancel_scope)
                        await self._work(job, runs, tasks, scope, receive, send)
                        tasks.cancel_scope.cancel()
            if apart is not None:  # the run counts by itself
                await apart(scope, receive, send)
        except ClientDisconnect:
            self._metrics.refused(_CLIENT_CLOSED)
        except DreamrError as error:
            name = None if client is None else client.name
            found = public_error(error, self._served.public)
            await self._refuse(found, scope, receive, send, client=name)

    async def _apart(self, job: Job) -> ASGIApp | None:
        """Return the response to a request that needs no run here; None for all others.

        Raises:
            ApiError: If a run cannot begin.
        """
        if job.attempt is None or job.attempt.answer is None:
            return None
        self._log(job, 200)
        headers = {**job.quota.headers, "idempotent-replayed": "true"}
        if not job.parsed.stream:
            return Response(job.attempt.answer, headers=headers, media_type="application/json")
        events = b"".join(split_events(job.attempt.answer)[job.from_event :])
        headers |= _STREAM
        return Response(events + self._api.end, headers=headers)

    async def _work(
        self, job: Job, runs: Runs, tasks: TaskGroup, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run a valid request and send the response."""
        if job.committed:
            runs.metrics.resumed(self.resumption)
        tasks.start_soon(runs.run, job)
        await self._answer(job, runs, scope, receive, send)

    def _name(self, request: Request, client: Client) -> str | None:
        """Return the name of a request that can be repeated, None for others.

        Raises:
            ApiError: If its key is invalid (400).
        """
        return self._attempts.name_of(request.headers, self.path, client.name)

    async def _job(
        self, request: Request, client: Client, quota: Quota, lease: Lease, began: float
    ) -> Job:
        """Read and check a request.

        Raises:
            DreamrError: If the request is invalid.
            ClientDisconnect: If the client disconnects.
        """
        body = await self._receiver.read(request, lease, began + self._options.deadline)
        name = self._name(request, client)
        digest = "" if name is None else await digest_of(body)
        kept = self._kept(body)
        parsed = await self._receiver.parse(body, self._api, lease)
        parsed = with_deadline(parsed, request.headers, client)
        parsed, messages = await self._receiver.receive(parsed, lease, began, request)
        attempt = await self._attempt(parsed, name, client, digest, kept)
        return self._new_job(client, parsed, messages, lease, began, quota, attempt)

    def _kept(self, body: bytearray) -> bytes:
        """Return the body if a later request without it may ask for its answer."""
        return b""

    async def _attempt(
        self, parsed: ParsedRequest, name: str | None, client: Client, digest: str, kept: bytes
    ) -> AttemptLog | None:
        """Begin an attempt at a request, None if it cannot be repeated.

        Raises:
            ApiError: If the key was used for another request (422).
        """
        return None if name is None else await self._attempts.begin(name, client.name, digest)

    def _new_job(
        self,
        client: Client,
        parsed: ParsedRequest,
        messages: tuple[ReceivedMessage, ...],
        lease: Lease,
        began: float,
        quota: Quota,
        attempt: AttemptLog | None,
    ) -> Job:
        summary = Summary(parsed, self._served.runs_of(parsed.model).pair.load.alone_seconds)
        identity = Identity(uuid4().hex, int(time.time())) if attempt is None else attempt.identity
        reply, public = self._api.reply(parsed, summary, identity), self._served.public
        return Job(
            client, parsed, messages, lease, reply, summary, began, quota, public,
            committed=() if attempt is None else attempt.committed, attempt=attempt,
        )  # fmt: skip

    async def _await_disconnect(self, job: Job, receive: Receive, scope: anyio.CancelScope) -> None:
        """Cancel the request when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not job.over:
            self._metrics.refused(_CLIENT_CLOSED)
            self._log(job, _CLIENT_CLOSED)
        scope.cancel()

    async def _answer(
        self, job: Job, runs: Runs, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if job.parsed.stream:
            await self._stream(job, runs, scope, receive, send)
            return
        while True:
            match await job.next():
                case ApiError() as error:
                    await self._refuse(error, scope, receive, send, job)
                    return
                case ChoiceEvent() as piece:
                    list(job.reply.events(piece))
                case RunFinished(result=result) if result.error is None:
                    prompt = await runs.prompt_tokens(job)
                    response = JSONResponse(
                        job.reply.whole(result, prompt), headers=job.quota.headers
                    )
                    self._done(job, runs, result, prompt)
                    job.sent(bytes(response.body))
                    await self._keep(job)
                    await response(scope, receive, send)
                    return

    async def _stream(
        self, job: Job, runs: Runs, scope: Scope, receive: Receive, send: Send
    ) -> None:
        first: Piece | None = None
        with anyio.move_on_after(_STATUS_SECONDS):
            first = await job.next()
            while not (_is_shown(first) or job.parsed.events):
                first = await job.next()
        if isinstance(first, ApiError):
            await self._refuse(first, scope, receive, send, job)
            return
        headers = {**_STREAM, **job.quota.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with aclosing(self._chunks(job, runs, first)) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": self._api.end})

    async def _chunks(
        self, job: Job, runs: Runs, first: Piece | None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the server-sent events of a stream."""
        reply = job.reply
        if data := _joined(job, reply.opening()):
            yield data
        piece = first
        while True:
            match piece:
                case None:
                    pass
                case ApiError() as error:
                    self._metrics.refused(error.status)
                    self._log(job, error.status)
                    yield _joined(job, reply.failure(error))
                    return
                case _ if _is_failure(piece):
                    pass  # the error follows
                case RunFinished(result=result):
                    if data := _joined(job, reply.events(piece)):
                        yield data
                    prompt = 0
                    if reply.counts_prompt or job.quota.counts_tokens:
                        prompt = await runs.prompt_tokens(job)
                    data = _joined(job, reply.closing(result, prompt))
                    await self._keep(job)
                    if data:
                        yield data
                    self._done(job, runs, result, prompt)
                    return
                case _:
                    if data := _joined(job, reply.events(piece)):
                        yield data
            piece = None
            with anyio.move_on_after(_QUIET_SECONDS):
                piece = await job.next()
            if piece is None:
                yield self._api.keep_alive

    async def _keep(self, job: Job) -> None:
        """Keep the answer of a run that has ended, for requests that continue or repeat it."""
        if job.attempt is not None:
            await job.attempt.end()

    def _done(self, job: Job, runs: Runs, result: Result, prompt: int) -> None:
        seconds = time.perf_counter() - job.began
        if job.first is not None:
            runs.metrics.first(job.first)
        runs.metrics.answered(result, seconds, prompt)
        self._log(job, 200, result)

    async def _refuse(
        self,
        error: ApiError,
        scope: Scope,
        receive: Receive,
        send: Send,
        job: Job | None = None,
        client: str | None = None,
    ) -> None:
        self._metrics.refused(error.status)
        headers = dict(error.headers)
        if job is not None:
            self._log(job, error.status)
            headers |= job.quota.headers
        else:
            code = error.code or error.kind
            shown = f"{client} " if client is not None else ""
            fields = {"client": client, "status": error.status, "code": code}
            log(logging.INFO, "%srefused with %d: %s", shown, error.status, code, **fields)
        await JSONResponse(self._api.error(error), error.status, headers)(scope, receive, send)

    def _log(self, job: Job, status: int, result: Result | None = None) -> None:
        """Log one line at the end of a request; texts only with --log-text."""
        job.over = True
        fields: dict[str, Any] = {
            "client": job.client.name,
            "status": status,
            "seconds": round(time.perf_counter() - job.began, 3),
            "steps": 0 if result is None else len(result.steps),
            "level": job.summary.level.name.lower(),
        }
        log(logging.INFO, "%s %d in %.3f s, %d steps, %s", *fields.values(), **fields, id=job.id)
        if self._options.log_text:
            log(logging.INFO, "prompt: %r", job.conversation)
            log(logging.INFO, "text: %r", None if result is None else result.text)


def _is_shown(piece: Piece) -> bool:
    """Return whether a piece adds to a stream, or ends it."""
    if isinstance(piece, ChoiceEvent):
        piece = piece.event
    return isinstance(piece, StepCommitted | AnswerExtended | RunFinished | ApiError) and not (
        _is_failure(piece)
    )


def _is_failure(piece: Piece) -> bool:
    """Return whether a piece is the end of a run that failed; its error is a piece of its own."""
    if isinstance(piece, ChoiceEvent):
        piece = piece.event
    return isinstance(piece, RunFinished) and piece.result.error is not None


def _joined(job: Job, events: Iterable[ServerEvent]) -> bytes:
    """Return the events that the client gets, of those that belong to the answer."""
    written = [(event, bytes(event)) for event in events]
    job.sent(b"".join(data for _, data in written))
    first = job.from_event
    return b"".join(
        data for event, data in written if event.data.get("sequence_number", first) >= first
    )
