"""The endpoints `/v1/batches`: answer the requests of an uploaded file in the background."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import anyio
import anyio.to_thread
import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr.errors import DreamrError
from dreamr.runner import SignalQueue
from dreamr.serving.batch import (
    Batch,
    BatchError,
    Concurrency,
    Progress,
    count_requests,
    read_ahead,
    read_requests,
)
from dreamr.serving.gateway.body import BODY_SECONDS, read_body
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError, bad_request, shortened
from dreamr.serving.gateway.field_errors import invalid_field
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.logs import LOG, log
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.gateway.quotas import Quotas
from dreamr.serving.gateway.stored_files import FileStore, StoredFile, Upload
from dreamr.serving.options import ServeOptions

_MOST_BODY = 64 * 2**10  # bytes of a request to these endpoints
_MOST_REQUESTS = 50_000  # in a batch, as OpenAI allows
_MOST_ACTIVE = 8  # batches of one client that are not done
_MOST_KEPT = 1000  # batches of all clients
_WINDOW_SECONDS = 86400
_KEY_HEADERS = ("authorization", "x-api-key")
_OVER = ("completed", "failed", "cancelled")


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/messages"]
    completion_window: Literal["24h"] = "24h"
    metadata: dict[str, str] | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """A batch of a client.

    Attributes:
        owner: Name of the client.
        headers: Headers that name the client, for its requests.
        body: What the client asked for.
        file: The file of requests.
        total: Number of requests.
        id: Id of the batch.
        status: Status in the words of OpenAI's API.
        times: Times of changes, in seconds since the epoch, by the name of their field.
        done: Requests that are answered or failed.
        failed: Requests that failed.
        output: File of answers, None if there are none yet.
        errors: File of errors, None if there are none.
        problem: Why the batch as a whole failed.
        scope: Cancels it.
    """

    owner: str
    headers: Mapping[str, str]
    body: _Body
    file: StoredFile
    total: int
    id: str = field(default_factory=lambda: f"batch_{secrets.token_hex(16)}")
    status: str = "validating"
    times: dict[str, int] = field(default_factory=lambda: {"created_at": int(time.time())})
    done: int = 0
    failed: int = 0
    output: StoredFile | None = None
    errors: StoredFile | None = None
    problem: str = ""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def become(self, status: str) -> None:
        """Change the status, and note when."""
        self.status = status
        self.times[f"{status}_at"] = int(time.time())

    def to_json(self) -> dict[str, Any]:
        """Return the batch object of OpenAI's API."""
        fields = ("in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled")
        problem = {"code": "batch_failed", "message": self.problem, "param": None, "line": None}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.body.endpoint,
            "errors": {"object": "list", "data": [problem]} if self.problem else None,
            "input_file_id": self.file.id,
            "completion_window": self.body.completion_window,
            "status": self.status,
            "output_file_id": None if self.output is None else self.output.id,
            "error_file_id": None if self.errors is None else self.errors.id,
            "created_at": self.times["created_at"],
            "expires_at": self.times["created_at"] + _WINDOW_SECONDS,
            "expired_at": None,
            **{f"{name}_at": self.times.get(f"{name}_at") for name in fields},
            "request_counts": {
                "total": self.total,
                "completed": self.done - self.failed,
                "failed": self.failed,
            },
            "metadata": self.body.metadata,
        }


@dataclass(slots=True)
class _UploadSink:
    """Answers and errors in files that grow."""

    answers: Upload
    problems: Upload
    answered: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    async def add_answer(self, custom_id: str, digest: str, line: bytes) -> None:
        await self.answers.write(line)
        self.answered[custom_id] = digest

    async def add_error(self, custom_id: str, line: bytes) -> None:
        await self.problems.write(line)
        self.failed.add(custom_id)


class Batches:
    """The endpoints, and the batches that run.

    Batches are kept in memory: they end with the gateway.

    Args:
        client: Client of the gateway in this process.
        store: Uploaded files.
        options: Limits of the gateway.
        keys: Accepted API keys.
        quotas: Limits of single clients.
        draining: Whether the gateway is about to stop.
        memory: Memory that all requests share.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        store: FileStore,
        options: ServeOptions,
        keys: ApiKeys,
        quotas: Quotas,
        draining: Draining,
        memory: Memory,
    ) -> None:
        self._client, self._store, self._keys, self._quotas = client, store, keys, quotas
        self._options = replace(options, max_body=min(options.max_body, _MOST_BODY))
        self._draining, self._memory = draining, memory
        self._jobs: dict[str, _Job] = {}
        self._new: SignalQueue[_Job] = SignalQueue()

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.all, methods=["GET"]),
            Route("/v1/batches/{id}", self.one, methods=["GET"]),
            Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def run(self) -> None:
        """Run batches until canceled."""
        async with anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(self._run, await self._new.get())

    async def create(self, request: Request) -> Response:
        """Accept a batch."""
        client = self._keys.client(request)
        self._draining.check()
        with (
            self._quotas.request(client.name, client.limits) as quota,
            self._memory.lease(client.name) as lease,
        ):
            try:
                end = time.perf_counter() + BODY_SECONDS
                content = await read_body(request, self._options, lease, end)
            except ClientDisconnect:
                return Response(status_code=499)  # the client is gone
            job = await self._job(_parsed(content), client.name, request)
            self._jobs[job.id] = job
            self._new.put(job)
            return JSONResponse(job.to_json(), headers=quota.headers)

    async def all(self, request: Request) -> Response:
        """List the batches of the client, the latest first."""
        jobs = [job.to_json() for job in reversed(self._of(self._keys.client(request).name))]
        ends = {"first_id": jobs[0]["id"], "last_id": jobs[-1]["id"]} if jobs else {}
        return JSONResponse({"object": "list", "data": jobs, "has_more": False, **ends})

    async def one(self, request: Request) -> Response:
        """Describe a batch."""
        return JSONResponse(self._find(request).to_json())

    async def cancel(self, request: Request) -> Response:
        """Cancel a batch; what is answered is kept."""
        job = self._find(request)
        if job.status not in _OVER:
            job.become("cancelling")
            job.scope.cancel()
        return JSONResponse(job.to_json())

    def _of(self, owner: str) -> list[_Job]:
        return [job for job in self._jobs.values() if job.owner == owner]

    def _find(self, request: Request) -> _Job:
        name = request.path_params["id"]
        job = self._jobs.get(name)
        if job is None or job.owner != self._keys.client(request).name:
            raise ApiError(404, f"there is no batch {shortened(name)}", code="batch_not_found")
        return job

    async def _job(self, body: _Body, owner: str, request: Request) -> _Job:
        """Check a batch before it is accepted.

        Raises:
            ApiError: If its file is not there or has no requests, or there are too many batches.
        """
        active = [job for job in self._of(owner) if job.status not in _OVER]
        if len(active) >= _MOST_ACTIVE:
            raise ApiError(
                429,
                f"{_MOST_ACTIVE} batches are not done yet: wait for one, or cancel one",
                code="too_many_batches",
                headers={"Retry-After": "60"},
            )
        self._forget()
        try:
            file = self._store.find(body.input_file_id, owner)
            path = self._store.path(file)
            total = await anyio.to_thread.run_sync(count_requests, path, body.endpoint)
        except ApiError as error:
            raise bad_request(error.message, "input_file_id", error.code) from error
        except BatchError as error:
            message = str(error).replace(str(self._store.path(file)), file.name)
            raise bad_request(message, "input_file_id") from error
        if total > _MOST_REQUESTS:
            raise bad_request(
                f"{file.name} has {total:,} requests: send at most {_MOST_REQUESTS:,} in a batch",
                "input_file_id",
            )
        headers = {name: sent for name in _KEY_HEADERS if (sent := request.headers.get(name))}
        return _Job(owner, headers, body, file, total)

    def _forget(self) -> None:
        """Forget the oldest batches that are done."""
        over = [job.id for job in self._jobs.values() if job.status in _OVER]
        for name in over[: max(0, len(self._jobs) - _MOST_KEPT + 1)]:
            del self._jobs[name]
        if len(self._jobs) >= _MOST_KEPT:
            raise ApiError(429, "too many batches are not done yet", code="too_many_batches")

    async def _run(self, job: _Job) -> None:
        async with self._store.upload(job.owner) as out, self._store.upload(job.owner) as errors:
            sink = _UploadSink(out, errors)
            try:
                with job.scope:
                    await self._answer(job, sink)
            except DreamrError as error:
                job.problem = str(error).replace(str(self._store.path(job.file)), job.file.name)
            except FileNotFoundError:
                job.problem = f"{job.file.name} was deleted"
            except Exception:
                LOG.exception("internal error")
                job.problem = "internal error; see the server's log"
            await self._finish(job, sink)
        log(
            logging.INFO,
            "%s batch %s: %d answered, %d failed",
            job.owner,
            job.status,
            len(sink.answered),
            len(sink.failed),
            id=job.id,
        )

    async def _answer(self, job: _Job, sink: _UploadSink) -> None:
        def progress(found: Progress) -> None:
            job.done, job.failed = found.done, found.failed

        job.become("in_progress")
        requests = read_ahead(read_requests(self._store.path(job.file), job.body.endpoint))
        most = max(1, self._options.max_running // 2)  # single requests find a place beside it
        await Batch(
            requests, self._client, sink, Concurrency(most), job.headers, on_progress=progress
        ).run()

    async def _finish(self, job: _Job, sink: _UploadSink) -> None:
        name = job.file.name.removesuffix(".jsonl")
        if sink.answered:
            job.output = await sink.answers.keep(f"{name}.answers.jsonl", "batch_output", None)
        if sink.failed:
            job.errors = await sink.problems.keep(f"{name}.errors.jsonl", "batch_output", None)
        if job.problem:
            job.become("failed")
        else:
            job.become("cancelled" if job.scope.cancel_called else "completed")


def _parsed(content: bytearray) -> _Body:
    try:
        return _Body.model_validate(json.loads(content))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise invalid_field(error) from error
        raise bad_request("the request body is not valid JSON") from error
