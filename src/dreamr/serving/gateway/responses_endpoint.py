"""The endpoint of responses, which further requests continue."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from dreamr.serving.gateway.apis.responses import ResponseReply, ResponsesApi
from dreamr.serving.gateway.endpoint import Endpoint
from dreamr.serving.gateway.job import Job
from dreamr.serving.gateway.stored_runs import StoredRuns


class ResponsesEndpoint(Endpoint):
    """The endpoint of responses.

    Args:
        stored: Runs in the background, and the responses that are kept.
        parts: What other endpoints have too.
    """

    def __init__(self, stored: StoredRuns, *parts: Any) -> None:
        super().__init__(ResponsesApi(), *parts)
        self._stored = stored

    async def _apart(self, job: Job) -> ASGIApp | None:
        """Begin a run in the background, and return its events or the response as it is now."""
        if not job.parsed.more.background:
            return None
        owner = job.client.name
        name = await self._stored.begin(job.client, job.parsed)
        if job.parsed.stream:
            return followed(self._stored, name, owner, 0)
        return JSONResponse(await self._stored.body(name, owner), headers=job.quota.headers)

    async def _keep(self, job: Job) -> None:
        """Keep a response that has ended, so that requests can continue it."""
        reply = job.reply
        if isinstance(reply, ResponseReply) and reply.kept is not None:
            await self._stored.responses.keep(job.client.name, *reply.kept)


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
