"""The endpoints `/v1/batches`: answer the requests of an uploaded file in the background."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr.serving.batch import BatchError, count_requests
from dreamr.serving.gateway.apis.fields import validated
from dreamr.serving.gateway.batch_job import BatchBody, BatchJob
from dreamr.serving.gateway.batch_runs import BatchRuns
from dreamr.serving.gateway.body import BODY_SECONDS, read_body
from dreamr.serving.gateway.draining import Draining
from dreamr.serving.gateway.errors import ApiError, bad_request, shortened, store_lost
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.gateway.quotas import Quotas
from dreamr.serving.gateway.stored_files import FileStore
from dreamr.serving.options import ServeOptions

_MOST_BODY = 64 * 2**10  # bytes of a request to these endpoints
_MOST_REQUESTS = 50_000  # in a batch, as OpenAI allows
_MOST_ACTIVE = 8  # batches of one client that are not done


class Batches:
    """The endpoints.

    Args:
        runs: The batches.
        store: Uploaded files.
        options: Limits of the gateway.
        keys: Accepted API keys.
        quotas: Limits of single clients.
        draining: Whether the gateway is about to stop.
        memory: Memory that all requests share.
    """

    def __init__(
        self,
        runs: BatchRuns,
        store: FileStore,
        options: ServeOptions,
        keys: ApiKeys,
        quotas: Quotas,
        draining: Draining,
        memory: Memory,
    ) -> None:
        self._runs, self._store, self._keys, self._quotas = runs, store, keys, quotas
        self._options, self._draining, self._memory = options, draining, memory

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.all, methods=["GET"]),
            Route("/v1/batches/{id}", self.one, methods=["GET"]),
            Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """Accept a batch.

        Raises:
            ApiError: If the key is not accepted (401), the body cannot be used (400, 413, 415) or
                is late (408), a limit is reached or too many batches are not done yet (429), or the
                gateway is overloaded or about to stop (503).
        """
        client = self._keys.client(request)
        self._draining.check()
        async with self._quotas.request(client.name, client.limits) as quota:
            with self._memory.lease(client.name) as lease:
                try:
                    end = time.perf_counter() + BODY_SECONDS
                    content = await read_body(request, self._options, lease, end, _MOST_BODY)
                except ClientDisconnect:
                    return Response(status_code=499)  # the client is gone
                job = await self._job(validated(BatchBody, content), client.name)
            if not await self._runs.begin(job):
                raise ApiError(429, "too many batches are not done yet", code="too_many_batches")
            return JSONResponse(job.to_json(), headers=quota.headers)

    async def all(self, request: Request) -> Response:
        """List the batches of the client, the latest first."""
        owner = self._keys.client(request).name
        jobs = [job.to_json() for job in await self._runs.all(owner)]
        ends = {"first_id": jobs[0]["id"], "last_id": jobs[-1]["id"]} if jobs else {}
        return JSONResponse({"object": "list", "data": jobs, "has_more": False, **ends})

    async def one(self, request: Request) -> Response:
        """Describe a batch."""
        return JSONResponse((await self._find(request)).to_json())

    async def cancel(self, request: Request) -> Response:
        """Cancel a batch; what is answered is kept."""
        job = await self._find(request)
        if not job.over:
            job = await self._runs.cancel(job)
        return JSONResponse(job.to_json())

    async def _find(self, request: Request) -> BatchJob:
        name = request.path_params["id"]
        job = await self._runs.find(name, self._keys.client(request).name)
        if job is None and self._runs.lost:
            raise store_lost(f"the batch {shortened(name)}")
        if job is None:
            raise ApiError(404, f"there is no batch {shortened(name)}", code="batch_not_found")
        return job

    async def _job(self, body: BatchBody, owner: str) -> BatchJob:
        """Check a batch before it is accepted.

        Raises:
            ApiError: If its file is not there or has no requests, a lost store may have it, or
                there are too many batches.
        """
        active = [job for job in await self._runs.all(owner) if not job.over]
        if len(active) >= _MOST_ACTIVE:
            raise ApiError(
                429,
                f"{_MOST_ACTIVE} batches are not done yet: wait for one, or cancel one",
                code="too_many_batches",
                headers={"Retry-After": "60"},
            )
        path = None
        try:
            file = await self._store.find(body.input_file_id, owner)
            path = await self._store.path(file)
            total = await anyio.to_thread.run_sync(count_requests, path, body.endpoint)
        except ApiError as error:
            if error.status != 404:
                raise
            raise bad_request(error.message, "input_file_id", error.code) from error
        except FileNotFoundError as error:
            raise bad_request("the file was deleted", "input_file_id", "file_not_found") from error
        except BatchError as error:
            message = str(error).replace(str(path), file.name)
            raise bad_request(message, "input_file_id") from error
        if total > _MOST_REQUESTS:
            raise bad_request(
                f"{file.name} has {total:,} requests: send at most {_MOST_REQUESTS:,} in a batch",
                "input_file_id",
            )
        return BatchJob(owner, body, file, total)
