"""The endpoint `POST /v1/chat/completions`."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from dreamr._load import JudgeTimes, Level, Load
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.conversation import Conversation, flatten
from dreamr.errors import DreamrError, RunFailed
from dreamr.runner import RunHook, view_of
from dreamr.serving.drift import Watch
from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError, api_error, timed_out
from dreamr.serving.gateway.job import Job, Piece
from dreamr.serving.gateway.keys import ApiKeys, Client
from dreamr.serving.gateway.logs import LOG, log
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.gateway.memory import Lease, Memory, Retention
from dreamr.serving.gateway.metrics import Metrics
from dreamr.serving.gateway.public_text import PublicText
from dreamr.serving.gateway.quotas import Quota, Quotas
from dreamr.serving.gateway.receiving import Receiver
from dreamr.serving.gateway.reply import Reply
from dreamr.serving.gateway.request_ids import request_id
from dreamr.serving.options import ServeOptions
from dreamr.serving.tuning import Tuner
from dreamr.steps import Role
from dreamr.trace import Result, RunFinished, StepCommitted

_STATUS_SECONDS = 1.0  # how long a stream waits for an error that can still become a status
_QUIET_SECONDS = 15.0  # a quiet stream sends a comment so that proxies keep the connection
_COUNT_SECONDS = 5.0  # time limit for counting the tokens of a prompt
_CLIENT_CLOSED = 499  # nginx's status for a client that closed the connection


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
        media: Reads the attachments of requests.
        quotas: Limits of single clients, shared by all endpoints.
        draining: Whether the gateway is about to stop.
        watch: Audits accepted steps, if configured.

    Attributes:
        memory: Memory that all requests share.
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
        draining: Draining,
        quotas: Quotas | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._reasoner, self._options = reasoner, options
        self._keys, self._admission = keys, admission
        self._load, self._metrics = load, metrics
        self._media, self._draining, self._watch = media, draining, watch
        self.memory = Memory(
            body_bytes=options.max_total_body,
            body_most=options.max_body,
            pixels=options.max_total_pixels,
        )
        self._retention = Retention(reasoner)
        self._receiver = Receiver(reasoner, options, media)
        self._quotas = quotas or Quotas()
        self._public = PublicText.of(reasoner)
        self._tuner = Tuner() if options.tune else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        began = request.scope.get("state", {}).get("began") or time.perf_counter()
        client = None
        try:
            client = self._keys.client(request)
            self._draining.check()
            with (
                self._quotas.request(client.name, client.limits) as quota,
                self.memory.lease(client.name) as lease,
            ):
                job = await self._job(request, client, quota, lease, began)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._await_disconnect, job, receive, tasks.cancel_scope)
                    tasks.start_soon(self._run, job)
                    await self._answer(job, scope, receive, send)
                    tasks.cancel_scope.cancel()
        except ClientDisconnect:
            self._metrics.refused(_CLIENT_CLOSED)
        except DreamrError as error:
            name = None if client is None else client.name
            await self._refuse(self._api_error(error), scope, receive, send, client=name)

    async def _job(
        self, request: Request, client: Client, quota: Quota, lease: Lease, began: float
    ) -> Job:
        """Read and check a request.

        Raises:
            DreamrError: If the request is invalid.
            ClientDisconnect: If the client disconnects.
        """
        deadline = began + self._options.deadline
        parsed, messages = await self._receiver.receive(request, lease, deadline)
        name = f"chatcmpl-{uuid4().hex}"
        reply = Reply(name, int(time.time()), parsed, self._load.alone_seconds)
        return Job(client, parsed, messages, lease, reply, began, quota, self._public)

    async def _await_disconnect(self, job: Job, receive: Receive, scope: anyio.CancelScope) -> None:
        """Cancel the request when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not job.over:
            self._metrics.refused(_CLIENT_CLOSED)
            self._log(job, _CLIENT_CLOSED)
        scope.cancel()

    async def _run(self, job: Job) -> None:
        """Wait for a place and run; events and errors go to the job's queue."""
        try:
            left = job.began + job.parsed.deadline - time.perf_counter()
            with anyio.fail_after(max(0.0, left)):
                async with self._admission.place(job.client.name):
                    conversation = await self._decode(job)
                    with self._retention.running(*self._views(job)):
                        await self._reason(job, conversation)
        except TimeoutError:
            job.pieces.put(timed_out(job.parsed.deadline))
        except RunFailed as error:
            job.pieces.put(await self._failed(job, error))
        except Exception as error:
            found = self._api_error(error)
            if found.status >= 500 and not isinstance(error, DreamrError):
                LOG.exception("internal error")
            job.pieces.put(found)

    def _api_error(self, error: Exception) -> ApiError:
        """Convert an error to a response, and log the details that clients do not see."""
        found = api_error(error)
        if found is error:
            return found
        message = self._public.text(found.message)
        if isinstance(error, DreamrError) and (found.status >= 500 or message != found.message):
            log(logging.WARNING, "request failed: %s", error)
        return replace(found, message=message)

    async def _decode(self, job: Job) -> Conversation:
        """Read the attachments of an admitted request, and free what they came in."""
        media = job.parsed.options.media(self._reasoner.models.image_pixels)
        await job.lease.take_pixels(self._media.pixels(job.messages, media))
        salt = job.client.cache_salt
        job.conversation = await self._media.decode(job.messages, media, salt)
        images = flatten(job.conversation).images
        job.lease.keep_pixels(sum(image.width * image.height for image in images))
        job.messages = ()
        job.lease.give_body()
        return job.conversation

    async def _reason(self, job: Job, conversation: Conversation) -> None:
        draft_lost = "draft" in self._reasoner.models.lost
        usual = job.parsed.options
        options, job.reply.level = self._load.shape(usual, draft_lost=draft_lost)
        auditing = self._watch is not None and not self._watch.idle
        alone = self._admission.running == 1 and not auditing
        result = None
        try:
            result = await self._reasoner.reason(
                conversation,
                options=replace(options, load_aware=False),  # shaped here, by the load of all
                on_event=job.on_event,
                hooks=self._hooks(usual, job.reply.level),
                request_id=request_id(),
                cache_salt=job.client.cache_salt,
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
        hooks = (self._watch, tuner, JudgeTimes(self._load))
        return [hook for hook in hooks if hook is not None]

    def _may_tune(self, options: RunOptions, level: Level) -> bool:
        """Return whether the tuner may set window, fallback and resamples."""
        usual = self._reasoner.options
        unchanged = all(
            getattr(options, name) == getattr(usual, name)
            for name in ("window", "fallback", "resamples", "deterministic")
        )
        return level is Level.FULL and unchanged

    async def _failed(self, job: Job, error: RunFailed) -> ApiError:
        """Convert the failure of a run; a prompt that is too long is the client's error."""
        found = self._api_error(error)
        if error.lost:
            found.status, found.code = 503, "engine_lost"
            found.headers = {"Retry-After": str(self._retry_after())}
        elif job.conversation is not None:
            try:
                with anyio.move_on_after(_COUNT_SECONDS):
                    await self._leading.count(self._views(job)[0])
            except DreamrError as cause:
                if (known := self._api_error(cause)).status < 500:
                    return known
        if isinstance(error.result, Result):
            found.more = {"dreamr": job.reply.summary(error.result)}
        return found

    def _retry_after(self) -> int:
        """Return the seconds after which a lost model may be open again."""
        models = self._reasoner.models
        return max(1, *(math.ceil(models.retry_after(role) or 0) for role in models))

    def _views(self, job: Job) -> list[Conversation]:
        """Return the conversation of a job as each model gets it, the leading one first."""
        written = job.written
        assert written is not None
        models, options = self._reasoner.models, job.parsed.options
        roles: list[Role] = ["target", "draft"] if "target" in models else ["draft"]
        return [view_of(role, written, options) for role in roles]

    @property
    def _leading(self) -> Any:
        models = self._reasoner.models
        return models["target" if "target" in models else "draft"].engine

    async def _answer(self, job: Job, scope: Scope, receive: Receive, send: Send) -> None:
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
                    await JSONResponse(body, headers=job.quota.headers)(scope, receive, send)
                    return

    async def _stream(self, job: Job, scope: Scope, receive: Receive, send: Send) -> None:
        first: Piece | None = None
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
            **job.quota.headers,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with aclosing(self._chunks(job, first)) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _chunks(self, job: Job, first: Piece | None) -> AsyncGenerator[bytes, None]:
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
                    if job.parsed.include_usage or job.quota.counts_tokens:
                        prompt = await self._prompt(job)
                    if job.parsed.include_usage:
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

    async def _prompt(self, job: Job) -> int:
        """Count the prompt tokens of the conversation; 0 if that fails."""
        if job.conversation is None:
            return 0
        try:
            with anyio.fail_after(_COUNT_SECONDS):
                count: int = await self._leading.count(self._views(job)[0])
        except (DreamrError, TimeoutError) as error:  # return the answer all the same
            log(logging.WARNING, "could not count the prompt tokens: %s", error)
            return 0
        job.quota.spend(count)
        return count

    def _done(self, job: Job, result: Result, prompt: int) -> None:
        seconds = time.perf_counter() - job.began
        if job.first is not None:
            self._metrics.first(job.first)
        self._metrics.answered(result, seconds, prompt)
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
        await JSONResponse(error.body, error.status, headers)(scope, receive, send)

    def _log(self, job: Job, status: int, result: Result | None = None) -> None:
        """Log one line at the end of a request; texts only with --log-text."""
        job.over = True
        fields: dict[str, Any] = {
            "client": job.client.name,
            "status": status,
            "seconds": round(time.perf_counter() - job.began, 3),
            "steps": 0 if result is None else len(result.steps),
            "level": job.reply.level.name.lower(),
        }
        log(logging.INFO, "%s %d in %.3f s, %d steps, %s", *fields.values(), **fields, id=job.id)
        if self._options.log_text:
            log(logging.INFO, "prompt: %r", job.conversation)
            log(logging.INFO, "text: %r", None if result is None else result.text)


def _event(chunks: Iterable[Any]) -> bytes:
    return b"".join(
        b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
        for chunk in chunks
    )
