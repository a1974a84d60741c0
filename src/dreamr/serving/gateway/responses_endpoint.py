"""The endpoint of responses, which further requests continue."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.responses import PREFIX, ResponseReply, ResponsesApi
from dreamr.serving.gateway.attempt_log import AttemptLog
from dreamr.serving.gateway.attempts import kept_body
from dreamr.serving.gateway.deadlines import with_deadline
from dreamr.serving.gateway.endpoint import Endpoint
from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.gateway.job import Job
from dreamr.serving.gateway.keys import Client
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.metrics import Resumption
from dreamr.serving.gateway.quotas import Quota
from dreamr.serving.gateway.stored_runs import StoredRuns

_MOST_DIGITS = 9


class ResponsesEndpoint(Endpoint):
    """The endpoint of responses.

    Args:
        stored: Runs in the background, and the responses that are kept.
        parts: What other endpoints have too.
    """

    def __init__(self, stored: StoredRuns, *parts: Any) -> None:
        super().__init__(ResponsesApi(), *parts)
        self._stored = stored

    def _kept(self, body: bytearray) -> bytes:
        """Return the body: a stream can be fetched by the id of its response."""
        return kept_body(body) if self._attempts.active else b""

    async def _attempt(
        self, parsed: ParsedRequest, name: str | None, client: Client, digest: str, kept: bytes
    ) -> AttemptLog | None:
        """Begin an attempt at a request, None if it cannot be repeated.

        Raises:
            ApiError: If the key was used for another request (422).
        """
        by_id = parsed.stream and parsed.more.store and not parsed.more.background
        if name is None and not (by_id and kept):
            return None
        return await self._attempts.begin(name, client.name, digest, kept if by_id else b"")

    async def _apart(self, job: Job) -> ASGIApp | None:
        """Begin a run in the background, and return its events or the response as it is now."""
        if not job.parsed.more.background:
            return await super()._apart(job)
        name = await self._begun(job)
        if job.parsed.stream:
            return followed(self._stored, name, job.client.name, 0)
        found = await self._stored.body(name, job.client.name)
        return JSONResponse(found, headers=job.quota.headers)

    async def _begun(self, job: Job) -> str:
        """Return the id of a run in the background: a new one, or that of an earlier attempt."""
        attempt = job.attempt
        if attempt is not None and attempt.answer is not None:
            return attempt.answer.decode()
        name = await self._stored.begin(job.client, job.parsed, _run_name(attempt))
        if attempt is not None:
            attempt.sent(name.encode())
            await attempt.end()
        return name

    async def _keep(self, job: Job) -> None:
        """Keep a response that has ended, so that requests can continue it."""
        reply = job.reply
        if isinstance(reply, ResponseReply) and reply.kept is not None:
            await self._stored.responses.keep(job.client.name, *reply.kept)
        await super()._keep(job)


class ResumedResponses(ResponsesEndpoint):
    """The endpoint of streams that were cut: `GET /v1/responses/{id}?stream=true`."""

    resumption: Resumption = "stream"

    def _name(self, request: Request, client: Client) -> str | None:
        """Return the name of the request whose response the path names."""
        name: str = request.path_params["id"]
        return name.removeprefix(PREFIX)

    async def _job(
        self, request: Request, client: Client, quota: Quota, lease: Lease, began: float
    ) -> Job:
        """Read the request of a response again, and go on after its committed steps.

        Raises:
            ApiError: If the client has no such response (404), or some of what it has of the
                response was not committed (409).
            DreamrError: If the request is not valid any more.
        """
        first = first_event(request)
        attempt = await self._attempts.resume(self._name(request, client) or "", client.name)
        if attempt is None:
            raise self._stored.unknown(request.path_params["id"])
        body = bytearray(attempt.body.encode())
        lease.take_body(len(body))
        parsed = await self._receiver.parse(body, self._api, lease)
        parsed = with_deadline(parsed, request.headers, client)
        parsed, messages = await self._receiver.receive(parsed, lease, began, request)
        job = self._new_job(client, parsed, messages, lease, began, quota, attempt)
        certain = attempt.certain(self._api.reply(parsed, job.summary, attempt.identity))
        if attempt.answer is None and first > certain:
            raise _uncertain(certain - 1)
        job.from_event = first
        return job


def _run_name(attempt: AttemptLog | None) -> str:
    """Return the name of a run: concurrent attempts at a request begin one run.

    The time is part of it, because a key can be used again for another request after it expires.
    """
    if attempt is None:
        return uuid4().hex
    return f"{attempt.identity.name}{attempt.identity.created:x}"


def first_event(request: Request) -> int:
    """Return the number of the first event that a client wants.

    Raises:
        ApiError: If it is not a number (400).
    """
    given = request.query_params.get("starting_after")
    if given is None:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        raise bad_request("starting_after must be the number of an event", "starting_after")
    return int(given) + 1


def _uncertain(last: int) -> ApiError:
    return ApiError(
        409,
        f"the events after number {last} were not committed when the stream was cut, and are "
        f"written again: drop them, and ask with starting_after={last}",
        param="starting_after",
        code="events_not_committed",
        more={"dreamr": {"starting_after": last}},
    )


def followed(stored: StoredRuns, name: str, owner: str, first: int) -> Response:
    """Return the stream of a run in the background.

    Args:
        stored: Runs in the background.
        name: Id of the response.
        owner: Name of the client.
        first: Number of the first event.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    events = stored.follow(name, owner, first)
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
