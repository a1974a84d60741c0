"""HTTP client of one server: requests and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from secrets import token_hex
from typing import Any, TypeVar

import httpx2

from dreamr.engines.call_labels import call_labels
from dreamr.engines.http.failures import code, cut, refuse
from dreamr.engines.http.network import Network
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.responses import Json, parse_json
from dreamr.engines.http.retries import RetryPolicy, TransientError
from dreamr.errors import EngineError

_SHORTEST_KEY = 8  # shorter ones, such as "none", also occur as words
_MAX_EVENT_BYTES = 16 * 2**20  # of one event of a stream

Found = TypeVar("Found")


def _session_header(session: str | None) -> dict[str, str]:
    """Return the headers that name the conversation and the request, for routers and logs.

    Args:
        session: Name of the conversation, for routers with session affinity.
    """
    headers = {} if session is None else {"X-Session-Id": session}
    if (request_id := call_labels().request_id) is not None:
        # Servers such as vLLM fail if two requests with one id run at the same time.
        headers["X-Request-Id"] = f"{request_id}-{token_hex(4)}"
    return headers


class Client:
    """HTTP client of one server.

    Args:
        options: Address, API key and limits.
        transport: Replaces the network in tests.

    Raises:
        EngineError: If the environment's settings for TLS or proxies cannot be used.
    """

    def __init__(
        self, options: HttpOptions, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._options = options
        self._network = Network(options, transport)
        self._http = self._network.http

    @property
    def alive(self) -> bool:
        """Whether the server could be reached at the last request."""
        return self._network.alive

    async def get(self, url: str) -> Any:
        """Fetch JSON from a URL.

        Raises the errors of `again`.
        """
        return parse_json(await self.text(url), url)

    async def text(self, url: str) -> str:
        """Fetch text from a URL.

        Raises the errors of `again`.
        """
        return await self.again(lambda: self._once("GET", url, None))

    async def date(self, url: str) -> datetime | None:
        """Return the time on the server's clock, None if the server does not send it.

        Raises the errors of `again`.
        """
        response = await self.again(lambda: self._response("GET", url, None))
        date = response.headers.get("date")
        try:
            return parsedate_to_datetime(date) if date else None
        except ValueError:
            return None

    async def post(self, url: str, body: Json, session: str | None = None) -> Any:
        """Send a JSON body and return the JSON response.

        Raises the errors of `again`.

        Args:
            url: Address.
            body: Fields of the request.
            session: Name of the conversation, for routers with session affinity.
        """
        return parse_json(await self.again(lambda: self._once("POST", url, body, session)), url)

    async def again(self, attempt: Callable[[], Awaitable[Found]]) -> Found:
        """Call a function until it succeeds or no retries are left.

        Args:
            attempt: Raises `TransientError` if it should be called again.

        Raises:
            EngineLost: If the server cannot be reached or denies access.
            ContextTooLong: If the prompt does not fit into the model's context.
            Unsupported: If the model accepts text only.
            EngineError: If the server refuses the request for another reason.
        """
        retry_policy = RetryPolicy(self._options.retries)
        while True:
            try:
                return await attempt()
            except TransientError as error:
                await retry_policy.wait(error)

    async def _once(
        self, method: str, url: str, body: Json | None, session: str | None = None
    ) -> str:
        return (await self._response(method, url, body, session)).text

    async def _response(
        self, method: str, url: str, body: Json | None, session: str | None = None
    ) -> httpx2.Response:
        async with self._network.reaching(url):
            headers = _session_header(session)
            response = await self._http.request(method, url, json=body, headers=headers)
            self._check(response.status_code, response.headers, response.content, url)
        return response

    @asynccontextmanager
    async def events(
        self, url: str, body: Json, session: str | None = None
    ) -> AsyncGenerator[AsyncIterator[Json]]:
        """Stream the events of one response; leaving the block closes the connection.

        Args:
            url: Address.
            body: Fields of the request.
            session: Name of the conversation, for routers with session affinity.

        Raises:
            TransientError: If the request should be sent again.
            EngineError: See `again`, also for other errors.
        """
        async with self._network.reaching(url):
            headers = _session_header(session)
            async with self._http.stream("POST", url, json=body, headers=headers) as response:
                if response.status_code != 200:
                    content = await response.aread()
                    self._check(response.status_code, response.headers, content, url)
                self._network.reached = self._network.alive = True
                yield self._events(response, url)

    async def _events(self, response: httpx2.Response, url: str) -> AsyncIterator[Json]:
        async for event in httpx2.EventSource(response, max_event_size=_MAX_EVENT_BYTES):
            if event.data == "[DONE]":
                return
            try:
                parsed = json.loads(event.data)
            except ValueError as error:
                raise EngineError(
                    f"{url} streamed text that is not JSON: {cut(event.data)}"
                ) from error
            if isinstance(parsed, dict):
                if parsed.get("error"):
                    refuse(code(parsed), {}, json.dumps(parsed).encode(), url)
                yield parsed

    def _check(self, status: int, headers: Mapping[str, str], content: bytes, url: str) -> None:
        self._network.check(status, headers, content, url)
        if status != 200:
            refuse(status, headers, self._redacted(content), self._network.shown(url))

    def _redacted(self, content: bytes) -> bytes:
        """Return a response without the API key, which some servers repeat in errors."""
        key = (self._options.api_key or "").encode()
        return content.replace(key, b"***") if len(key) >= _SHORTEST_KEY else content

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        self._network.alive = False
        await self._http.aclose()
