"""The endpoints of responses that are kept, and of those that are written in the background."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.responses_endpoint import followed
from dreamr.serving.gateway.stored_runs import StoredRuns

_MOST_DIGITS = 9


class StoredResponses:
    """Returns, follows, cancels and deletes responses.

    Args:
        stored: Runs in the background, and the responses that are kept.
        keys: Accepted API keys.
    """

    def __init__(self, stored: StoredRuns, keys: ApiKeys) -> None:
        self._stored, self._keys = stored, keys

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/responses/{id}", self.one, methods=["GET"]),
            Route("/v1/responses/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/responses/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def one(self, request: Request) -> Response:
        """Return a response, or its events after a number."""
        owner, name = self._keys.client(request).name, request.path_params["id"]
        if request.query_params.get("stream", "").lower() in ("true", "1"):
            first = _first(request)
            await self._stored.check(name, owner)
            return followed(self._stored, name, owner, first)
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
        try:
            await self._stored.responses.delete(name, owner)
        except ApiError:
            if not deleted:
                raise
        return JSONResponse({"id": name, "object": "response", "deleted": True})


def _first(request: Request) -> int:
    """Return the number of the first event that a client wants."""
    given = request.query_params.get("starting_after")
    if given is None:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        raise bad_request("starting_after must be the number of an event", "starting_after")
    return int(given) + 1
