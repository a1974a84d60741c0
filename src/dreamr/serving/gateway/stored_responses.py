"""The endpoints of responses that are kept, and of those that are written in the background."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dreamr.serving.gateway.apis.responses import PREFIX
from dreamr.serving.gateway.attempts import RequestAttempts
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.responses_endpoint import first_event, followed
from dreamr.serving.gateway.stored_runs import StoredRuns


class StoredResponses:
    """Returns, follows, cancels and deletes responses.

    Args:
        stored: Runs in the background, and the responses that are kept.
        keys: Accepted API keys.
        resumed: The endpoint of streams that were cut.
        attempts: What attempts at requests left.
    """

    def __init__(
        self, stored: StoredRuns, keys: ApiKeys, resumed: ASGIApp, attempts: RequestAttempts
    ) -> None:
        self._stored, self._keys, self._resumed = stored, keys, resumed
        self._attempts = attempts

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/responses/{id}", self.one, methods=["GET"]),
            Route("/v1/responses/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/responses/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def one(self, request: Request) -> ASGIApp:
        """Return a response, or its events after a number.

        Raises:
            ApiError: If the key is not accepted (401), `starting_after` is not a number (400), or
                the client has no such response (404).
        """
        owner, name = self._keys.client(request).name, request.path_params["id"]
        if request.query_params.get("stream", "").lower() in ("true", "1"):
            first = first_event(request)
            if await self._stored.has(name, owner):
                return followed(self._stored, name, owner, first)
            return self._resumed
        try:
            found = await self._stored.responses.find(name, owner, None)
        except ApiError as error:
            if error.status != 404:
                raise
            try:
                return JSONResponse(await self._stored.body(name, owner))
            except ApiError:
                raise error from None
        return JSONResponse(found.body)

    async def cancel(self, request: Request) -> Response:
        """End a response that is written in the background."""
        owner, name = self._keys.client(request).name, request.path_params["id"]
        return JSONResponse(await self._stored.cancel(name, owner))

    async def delete(self, request: Request) -> Response:
        """Forget a response."""
        owner, name = self._keys.client(request).name, request.path_params["id"]
        deleted = await self._stored.delete(name, owner)
        await self._attempts.delete(name.removeprefix(PREFIX), owner)
        try:
            await self._stored.responses.delete(name, owner)
        except ApiError:
            if not deleted:
                raise
        return JSONResponse({"id": name, "object": "response", "deleted": True})
