"""The endpoint `POST /v1/chat/completions`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.conversation import Conversation
from dreamr.errors import DreamrError, RunFailed
from dreamr.runner import RunHook, SignalQueue
from dreamr.serving.drift import Watch
from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.errors import ApiError, api_error, timed_out
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.load import Level, Load
from dreamr.serving.gateway.media import MediaFetcher, ReceivedMessage
from dreamr.serving.gateway.memory import Lease, Memory, Retention
from dreamr.serving.gateway.metrics import Metrics
from dreamr.serving.gateway.receiving import Receiver
from dreamr.serving.gateway.reply import Reply
from dreamr.serving.gateway.request import ParsedRequest
from dreamr.serving.options import ServeOptions
from dreamr.serving.tuning import Tuner
from dreamr.trace import Event, Result, RunFinished, StepCommitted

LOG = logging.getLogger("dreamr.serving.gateway")

_STATUS_SECONDS = 1.0  # how long a stream waits for an error that can still become a status
_QUIET_SECONDS = 15.0  # a quiet stream sends a comment so that proxies keep the connection
_COUNT_SECONDS = 5.0  # time limit for counting the tokens of a prompt
_CLIENT_CLOSED = 499  # nginx's status for a client that closed the connection

_Piece = Event | ApiError


@dataclass(slots=True)
class _Job:
    """A valid request and the state of its reply.

    Attributes:
        id: Id of the completion.
        client: Name of the client.
        parsed: The request.
        messages: Its messages with all images received; none once they are decoded.
        lease: What it holds of the memory that all requests share.
        reply: Builder of the reply.
        began: Time of the request.
        conversation: Its messages with all images decoded, which happens after admission.
        pieces: Events of the run, then an error if it failed.
        over: Whether the outcome is logged.
        first: Seconds to the first committed step.
    """

    id: str
    client: str
    parsed: ParsedRequest
    messages: tuple[ReceivedMessage, ...]
    lease: Lease
    reply: Reply
    began: float
    conversation: Conversation | None = None
    pieces: SignalQueue[_Piece] = field(default_factory=SignalQueue)
    over: bool = False
    first: float | None = None

    def on_event(self, event: Event) -> None:
        """Queue an event of the run for the client."""
        if self.first is None and isinstance(event, StepCommitted):
            self.first = time.perf_counter() - self.began
        self.pieces.put(event)


class Chat:
    """The endpoint as an ASGI application.

    The run and the response are separate tasks. A client that reads slowly does not occupy a
    place, and a client that disconnects cancels its run at once.

    Args:
        reasoner: An open Reasoner.
        options: Access and limits.
        keys: Accepted API keys.
        admission: Admission control, shared by all requests.
        load: Load control, shared by all requests.
        metrics: Metrics of the gateway.
        media: Reads the images of requests.
        watch: Audits accepted steps, if configured.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        options: ServeOptions,
        *,
        keys: ApiKeys,
        admission: Admission,
        load: Load,
        metrics: Metrics,
        media: MediaFetcher,
        watch: Watch | None = None,
    ) -> None:
        self._reasoner, self._options = reasoner, options
        self._keys, self._admission = keys, admission
        self._load, self._metrics = load, metrics
        self._media, self._watch = media, watch
        self._memory = Memory(
            body_bytes=options.max_total_body,
            body_most=options.max_body,
            pixels=options.max_total_pixels,
        )
        self._retention = Retention(reasoner)
        self._receiver = Receiver(reasoner, options, media)
        self._tuner = Tuner() if options.tune else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        began = request.scope.get("state", {}).get("began") or time.perf_counter()
        try:
            client = self._keys.client(request)
        except DreamrError as error:
            await self._refuse(api_error(error), scope, receive, send)
            return
        with self._memory.lease(client) as lease:
            try:
                deadline = began + self._options.deadline
                parsed, messages = await self._receiver.receive(request, lease, deadline)
            except ClientDisconnect:
                self._metrics.refused(_CLIENT_CLOSED)
                return
            except DreamrError as error:
                await self._refuse(api_error(error), scope, receive, send)
                return
            name = f"chatcmpl-{uuid4().hex}"
            created, step_format = int(time.time()), self._reasoner.step_format
            reply = Reply(name, created, parsed, step_format, self._load.alone_seconds)
            job = _Job(name, client, parsed, messages, lease, reply, began)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._await_disconnect, job, receive, tasks.cancel_scope)
                tasks.start_soon(self._run, job)
                await self._answer(job, scope, receive, send)
                tasks.cancel_scope.cancel()

    async def _await_disconnect(
        self, job: _Job, receive: Receive, scope: anyio.CancelScope
    ) -> None:
        """Cancel the request when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not job.over:
            self._metrics.refused(_CLIENT_CLOSED)
            self._log(job, _CLIENT_CLOSED)
        scope.cancel()

    async def _run(self, job: _Job) -> None:
        """Wait for a place and run; events and errors go to the job's queue."""
        try:
            left = job.began + job.parsed.deadline - time.perf_counter()
            with anyio.fail_after(max(0.0, left)):
                async with self._admission.place(job.client):
                    conversation = await self._decode(job)
                    with self._retention.running(conversation):
                        await self._reason(job, conversation)
        except TimeoutError:
            job.pieces.put(timed_out(job.parsed.deadline))
        except RunFailed as error:
            job.pieces.put(await self._failed(job, error))
        except Exception as error:
            found = api_error(error)
            if found.status >= 500 and not isinstance(error, DreamrError):
                LOG.exception("%s: internal error", job.id)
            job.pieces.put(found)

    async def _decode(self, job: _Job) -> Conversation:
        """Decode the images of an admitted request, and free what they came in."""
        await job.lease.take_pixels(self._media.pixels(job.messages))
        job.conversation = await self._media.decode(job.messages)
        job.messages = ()
        job.lease.give_body()
        return job.conversation

    async def _reason(self, job: _Job, conversation: Conversation) -> None:
        options, job.reply.level = self._load.shape(job.parsed.options)
        auditing = self._watch is not None and not self._watch.idle
        alone = self._admission.running == 1 and not auditing
        result = None
        try:
            result = await self._reasoner.reason(
                conversation,
                options=options,
                on_event=job.on_event,
                hooks=self._hooks(options, job.reply.level),
            )
        except RunFailed as error:
            result = error.result if isinstance(error.result, Result) else None
            raise
        finally:
            if result is not None:
                self._metrics.ran(result)
                if result.complete:
                    self._load.learn(result, alone=alone and self._admission.running == 1)

    def _hooks(self, options: RunOptions, level: Level) -> list[RunHook]:
        tuner = self._tuner if self._may_tune(options, level) else None
        return [hook for hook in (self._watch, tuner) if hook is not None]

    def _may_tune(self, options: RunOptions, level: Level) -> bool:
        """Return whether the tuner may set window, fallback and resamples."""
        usual = self._reasoner.options
        unchanged = all(
            getattr(options, name) == getattr(usual, name)
            for name in ("window", "fallback", "resamples", "deterministic")
        )
        return level is Level.FULL and unchanged

    async def _failed(self, job: _Job, error: RunFailed) -> ApiError:
        """Convert the failure of a run; a prompt that is too long is the client's error."""
        leading = self._leading
        try:
            with anyio.move_on_after(_COUNT_SECONDS):
                if job.conversation is not None:
                    await leading.count(job.conversation)
        except DreamrError as cause:
            found = api_error(cause)
            if found.status < 500:
                return found
        found = api_error(error)
        if not leading.alive:
            found.status = 503
        if isinstance(error.result, Result):
            found.more = {"dreamr": job.reply.summary(error.result)}
        return found

    @property
    def _leading(self) -> Any:
        models = self._reasoner.models
        return models["target" if "target" in models else "draft"].engine

    async def _answer(self, job: _Job, scope: Scope, receive: Receive, send: Send) -> None:
        if job.parsed.stream:
            await self._stream(job, scope, receive, send)
            return
        while True:
            match await job.pieces.get():
                case ApiError() as error:
                    await self._refuse(error, scope, receive, send, job)
                    return
                case RunFinished(result=result) if result.finish != "failed":
                    prompt = await self._prompt(job)
                    self._done(job, result, prompt)
                    body = job.reply.whole(result, prompt)
                    await JSONResponse(body, headers=_headers(job))(scope, receive, send)
                    return

    async def _stream(self, job: _Job, scope: Scope, receive: Receive, send: Send) -> None:
        first: _Piece | None = None
        with anyio.move_on_after(_STATUS_SECONDS):
            first = await job.pieces.get()
            while not (isinstance(first, StepCommitted | ApiError) or job.parsed.events):
                first = await job.pieces.get()
        if isinstance(first, ApiError):
            await self._refuse(first, scope, receive, send, job)
            return
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            **_headers(job),
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with aclosing(self._chunks(job, first)) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _chunks(self, job: _Job, first: _Piece | None) -> AsyncGenerator[bytes, None]:
        """Yield the server-sent events of a stream."""
        reply = job.reply
        yield _event([reply.opening()])
        piece = first
        while True:
            match piece:
                case None:
                    pass
                case ApiError() as error:
                    self._metrics.refused(error.status)
                    self._log(job, error.status)
                    yield _event([error.body])
                    return
                case RunFinished(result=result) if result.finish == "failed":
                    pass  # the error follows
                case RunFinished(result=result):
                    yield _event(reply.chunks(piece))
                    prompt = 0
                    if job.parsed.include_usage:
                        prompt = await self._prompt(job)
                        yield _event([reply.usage_chunk(result, prompt)])
                    self._done(job, result, prompt)
                    return
                case _:
                    if data := _event(reply.chunks(piece)):
                        yield data
            piece = None
            with anyio.move_on_after(_QUIET_SECONDS):
                piece = await job.pieces.get()
            if piece is None:
                yield b": keep-alive\n\n"

    async def _prompt(self, job: _Job) -> int:
        """Count the prompt tokens of the conversation; 0 if that fails."""
        if job.conversation is None:
            return 0
        try:
            with anyio.fail_after(_COUNT_SECONDS):
                count: int = await self._leading.count(job.conversation)
        except (DreamrError, TimeoutError) as error:  # return the answer all the same
            LOG.warning("%s: could not count the prompt tokens: %s", job.id, error)
            return 0
        return count

    def _done(self, job: _Job, result: Result, prompt: int) -> None:
        seconds = time.perf_counter() - job.began
        if job.first is not None:
            self._metrics.first(job.first)
        self._metrics.answered(result, seconds, prompt)
        self._log(job, 200, result)

    async def _refuse(
        self, error: ApiError, scope: Scope, receive: Receive, send: Send, job: _Job | None = None
    ) -> None:
        self._metrics.refused(error.status)
        if job is not None:
            self._log(job, error.status)
        else:
            LOG.info("Request refused with %d: %s", error.status, error.code or error.kind)
        response = JSONResponse(error.body, error.status, headers=dict(error.headers))
        await response(scope, receive, send)

    def _log(self, job: _Job, status: int, result: Result | None = None) -> None:
        """Log one line at the end of a request; texts only with --log-text."""
        job.over = True
        seconds = time.perf_counter() - job.began
        steps = 0 if result is None else len(result.steps)
        level = job.reply.level.name.lower()
        LOG.info(
            "%s %s %d in %.3f s, %d steps, %s", job.id, job.client, status, seconds, steps, level
        )
        if self._options.log_text:
            LOG.info("%s prompt: %r", job.id, job.conversation)
            LOG.info("%s text: %r", job.id, None if result is None else result.text)


def _headers(job: _Job) -> Mapping[str, str]:
    return {"x-request-id": job.id}


def _event(chunks: Iterable[Any]) -> bytes:
    return b"".join(
        b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
        for chunk in chunks
    )
