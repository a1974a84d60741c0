"""The endpoints of responses that are kept."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dreamr.serving.gateway.apis.responses import ResponseStore
from dreamr.serving.gateway.keys import ApiKeys


class StoredResponses:
    """Returns and deletes responses that are kept.

    Args:
        store: Keeps them.
        keys: Accepted API keys.
    """

    def __init__(self, store: ResponseStore, keys: ApiKeys) -> None:
        self._store, self._keys = store, keys

    def routes(self) -> list[Route]:
        """Return the routes of the endpoints."""
        return [
            Route("/v1/responses/{id}", self.one, methods=["GET"]),
            Route("/v1/responses/{id}", self.delete, methods=["DELETE"]),
        ]

    async def one(self, request: Request) -> Response:
        """Return a response."""
        client = self._keys.client(request)
        found = self._store.find(request.path_params["id"], client.name, None)
        return JSONResponse(found.body)

    async def delete(self, request: Request) -> Response:
        """Forget a response."""
        client, name = self._keys.client(request), request.path_params["id"]
        self._store.delete(name, client.name)
        return JSONResponse({"id": name, "object": "response", "deleted": True})
