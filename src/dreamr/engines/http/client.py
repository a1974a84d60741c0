"""HTTP client of one server: requests and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from dreamr.engines.http.failures import code, cut, refuse
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.responses import Json, parse_json
from dreamr.engines.http.retries import RetryPolicy, TransientError
from dreamr.errors import EngineError, EngineLost

_MAX_EVENT_BYTES = 16 * 2**20  # of one event of a stream

Found = TypeVar("Found")


def _session_header(session: str | None) -> dict[str, str]:
    """Return the header that names a conversation, for routers with session affinity."""
    return {} if session is None else {"X-Session-Id": session}


class Client:
    """HTTP client of one server.

    Attributes:
        alive: Whether the server could be reached at the last request.
    """

    def __init__(
        self, options: HttpOptions, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        self._options = options
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(options.silent_seconds, connect=options.connect_seconds),
            limits=httpx2.Limits(
                max_connections=options.connections, max_keepalive_connections=options.connections
            ),
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )
        self.alive = True

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
        with self._failures(url):
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
        with self._failures(url):
            headers = _session_header(session)
            async with self._http.stream("POST", url, json=body, headers=headers) as response:
                if response.status_code != 200:
                    content = await response.aread()
                    self._check(response.status_code, response.headers, content, url)
                self.alive = True
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

    def _failures(self, url: str) -> _Failures:
        return _Failures(self, url)

    def _check(self, status: int, headers: Mapping[str, str], content: bytes, url: str) -> None:
        self.alive = True
        if status != 200:
            refuse(status, headers, content, url)

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        self.alive = False
        await self._http.aclose()


class _Failures:
    """Context manager that turns network errors into errors of dreamr."""

    def __init__(self, client: Client, url: str) -> None:
        self._client, self._url = client, url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        match error:
            case httpx2.ConnectError() | httpx2.ConnectTimeout():
                self._client.alive = False
                raise TransientError(
                    EngineLost(f"cannot connect to {self._url}: is the server running?")
                ) from error
            case httpx2.TimeoutException():
                raise TransientError(
                    EngineLost(f"{self._url} stopped responding: check the server's log")
                ) from error
            case httpx2.TransportError():
                reason = cut(str(error))
                raise TransientError(
                    EngineLost(f"the connection to {self._url} was interrupted: {reason}")
                ) from error
            case httpx2.HTTPError() | httpx2.InvalidURL() | httpx2.SSEError():
                raise EngineError(f"request to {self._url} failed: {error}") from error
