"""HTTP client of one server: requests and streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from secrets import token_hex
from typing import Any, TypeVar

import anyio
import httpx2

from dreamr.engines.call_labels import call_labels
from dreamr.engines.http.events import decode
from dreamr.engines.http.failures import refuse, refuse_errors
from dreamr.engines.http.fields import parse_json
from dreamr.engines.http.identity import Identity
from dreamr.engines.http.media_sender import MediaSender, Outgoing
from dreamr.engines.http.network import Network, read_body
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.retries import RetryPolicy, TransientError
from dreamr.errors import ContextTooLong, EngineError, Unsupported

_ABORT_SECONDS = 2.0
_SHORTEST_KEY = 8  # shorter ones, such as "none", also occur as words
_NEW_TOKENS = {"max_tokens", "sampling_params"}  # one of them is in each request for tokens
_UNREAD = (400, 422)  # statuses of servers that do not have a file, among other reasons

Json = dict[str, Any]
Found = TypeVar("Found")


def _call_headers(session: str | None) -> dict[str, str]:
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
        keys: Environment variable of the API key, for messages; empty for those of models.

    Attributes:
        identity: Whether the server is still the one that was probed.
        media: Puts images and sounds into the bodies of requests.
        sent_bytes: Bytes of the bodies of all requests so far.
        prioritized: Whether the server may take priorities: it has not refused one so far.

    Raises:
        EngineError: If the environment's settings for TLS or proxies cannot be used.
    """

    def __init__(
        self,
        options: HttpOptions,
        transport: httpx2.AsyncBaseTransport | None = None,
        keys: str = "",
    ) -> None:
        self._options, self._keys = options, keys
        self.identity = Identity()
        self._network = Network(options, transport, self.identity.doubt)
        self._http = self._network.http
        self.media = MediaSender()
        self.sent_bytes = 0
        self.prioritized = False
        self._http.event_hooks["request"].append(self._count_bytes)

    @property
    def alive(self) -> bool:
        """Whether the server could be reached at the last request, and is the one probed."""
        return self._network.alive and self.identity.same

    async def _count_bytes(self, request: httpx2.Request) -> None:
        self.sent_bytes += int(request.headers.get("content-length", 0))

    def note_stall(self) -> None:
        """Count the server as unreachable until its next response."""
        self._network.alive = False

    async def get(self, url: str) -> object:
        """Fetch JSON from a URL.

        Raises the errors of `again`.
        """
        return await self.again(lambda: self._json("GET", url, None))

    async def text(self, url: str) -> str:
        """Fetch text from a URL.

        Raises the errors of `again`.
        """
        _, content = await self.again(lambda: self._response("GET", url, None))
        return content.decode("utf-8", "replace")

    async def once(self, url: str) -> tuple[int, bytes]:
        """Fetch a URL without retries and return status and body of the response.

        A response with a server error does not make a server `alive` that could not be reached
        before.

        Raises:
            EngineLost: If the server cannot be reached.
            EngineError: If the response is too large.
        """
        try:
            async with self._network.reaching(url), self._http.stream("GET", url) as response:
                content = await read_body(response, url)
        except TransientError as error:
            raise error.final from error
        if response.status_code < 500:
            self._network.reached = self._network.alive = True
        return response.status_code, content

    async def date(self, url: str) -> datetime | None:
        """Return the time on the server's clock, None if the server does not send it.

        Raises the errors of `again`.
        """
        headers, _ = await self.again(lambda: self._response("GET", url, None))
        date = headers.get("date")
        try:
            return parsedate_to_datetime(date) if date else None
        except (ValueError, OverflowError):
            return None

    async def post(
        self, url: str, body: Json, session: str | None = None, *, more_bytes: int = 0
    ) -> object:
        """Send a JSON body and return the JSON response.

        Raises the errors of `again`.

        Args:
            url: Address.
            body: Fields of the request.
            session: Name of the conversation, for routers with session affinity.
            more_bytes: By how much the response may be longer than others.
        """
        return await self.again(lambda: self.post_once(url, body, session, more_bytes=more_bytes))

    async def post_once(
        self, url: str, body: Json, session: str | None = None, *, more_bytes: int = 0
    ) -> object:
        """Send a JSON body and return the JSON response, without retries; see `post`.

        Raises:
            TransientError: If the request should be sent again.
            EngineError: See `again`, also for other errors.
        """
        async with self.identity.watching():
            return await self._json("POST", url, body, session, more_bytes)

    async def post_file(
        self, url: str, fields: Mapping[str, str], file: tuple[str, bytes, str], seconds: float
    ) -> object:
        """Send a form with a file and return the JSON response.

        Raises the errors of `again`.

        Args:
            url: Address.
            fields: Fields of the form.
            file: Name, content and media type of its field `file`.
            seconds: Time limit between two pieces of the response.
        """
        timeout = httpx2.Timeout(seconds, connect=self._options.connect_seconds)

        async def attempt() -> object:
            async with (
                self._network.reaching(url),
                self._http.stream(
                    "POST",
                    url,
                    data=fields,
                    files={"file": file},
                    headers=_call_headers(None),
                    timeout=timeout,
                ) as response,
            ):
                content = await read_body(response, url)
                if not response.is_success:
                    self._check(response.status_code, response.headers, content, url)
                self._network.reached = self._network.alive = True
                value = parse_json(content, url)
                refuse_errors(value, self._network.shown(url), hide=self._secret)
                return value

        return await self.again(attempt)

    async def abort(self, url: str, rid: str, session: str) -> None:
        """Abort a request at a server that does not notice closed connections.

        A failure says nothing about the model: some versions answer without JSON.
        """
        with anyio.move_on_after(_ABORT_SECONDS, shield=True):
            try:
                await self._response("POST", url, {"rid": rid}, session)
            except (EngineError, TransientError, Unsupported):
                return  # aborting only saves the server work; the connection is closed anyway

    async def post_final(self, url: str, body: Json) -> object:
        """Send a JSON body, again only if the server is busy: for requests that it may not know.

        A refusal does not count as a sign of another server.

        Raises:
            EngineError: If it fails for any reason.
            Unsupported: If the model accepts text only.
        """
        return await self.again(lambda: self._json("POST", url, body), busy=True)

    async def again(self, attempt: Callable[[], Awaitable[Found]], *, busy: bool = False) -> Found:
        """Call a function until it succeeds or no retries are left.

        Args:
            attempt: Raises `TransientError` if it should be called again.
            busy: Whether to call it again only if the server is busy.

        Raises:
            EngineLost: If the server cannot be reached or denies access.
            ContextTooLong: If the prompt does not fit into the model's context.
            Unsupported: If the model accepts text only.
            EngineError: If the server refuses the request for another reason.
        """
        retry_policy = RetryPolicy(self._options.retries)
        while True:
            try:
                await self.identity.ensure()
                return await attempt()
            except TransientError as error:
                if busy and not error.busy:
                    raise error.final from error
                await retry_policy.wait(error)

    async def _json(
        self,
        method: str,
        url: str,
        body: Json | None,
        session: str | None = None,
        more_bytes: int = 0,
    ) -> object:
        async with self._answer(method, url, body, session) as (response, request):
            value = parse_json(await read_body(response, url, more_bytes), url)
            self._refuse_errors(value, url, request)
        if method == "POST":
            self.identity.note(value, url)
        return value

    async def _response(
        self, method: str, url: str, body: Json | None, session: str | None = None
    ) -> tuple[httpx2.Headers, bytes]:
        async with self._answer(method, url, body, session) as (response, _):
            return response.headers, await read_body(response, url)

    @asynccontextmanager
    async def events(
        self, url: str, body: Json, session: str | None = None
    ) -> AsyncGenerator[AsyncIterator[object]]:
        """Stream the JSON of one response's events; leaving the block closes the connection.

        The last one is `DONE` if the server sends it.

        Args:
            url: Address.
            body: Fields of the request.
            session: Name of the conversation, for routers with session affinity.

        Raises:
            TransientError: If the request should be sent again.
            EngineError: See `again`, also for other errors.
        """
        async with (
            self.identity.watching(),
            self._answer("POST", url, body, session) as (response, request),
            aclosing(self._events(response, url, request)) as events,
        ):
            yield events

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, body: Json | None, session: str | None
    ) -> AsyncGenerator[tuple[httpx2.Response, Outgoing]]:
        """Send a request and yield the response, which is successful.

        A server that may have lost a file that was omitted gets the whole request once more.
        """
        missed: frozenset[str] = frozenset()
        # A comparison can replace it, and must not wait for a check of media that led to it.
        media = MediaSender() if self.identity.compared_here else self.media
        while True:
            sent = self._with_priority(body)
            async with self._network.reaching(url), _with_media(media, sent, missed) as request:
                headers = _call_headers(session)
                if request.content:
                    headers["Content-Type"] = "application/json"
                async with self._http.stream(
                    method, url, content=request.content or None, headers=headers
                ) as response:
                    if response.is_success:
                        self._network.reached = self._network.alive = True
                        media.arrived(request)
                        yield response, request
                        return
                    content = await read_body(response, url)
                if sent is not body and _refuses_priority(response.status_code, content):
                    self.prioritized = False
                    continue
                if response.status_code not in _UNREAD or not request.omitted:
                    if response.status_code >= 500:
                        media.doubt(request)
                    self._check(response.status_code, response.headers, content, url)
                missed = request.omitted

    def _with_priority(self, body: Json | None) -> Json | None:
        """Return the body of a request for tokens with the priority of its run, if it has one."""
        priority = call_labels().priority
        if not (priority and self.prioritized and body and body.keys() & _NEW_TOKENS):
            return body
        return {**body, "priority": priority}

    async def _events(
        self, response: httpx2.Response, url: str, request: Outgoing
    ) -> AsyncGenerator[object, None]:
        async with aclosing(decode(response.aiter_bytes(), url, self._secret)) as events:
            async for name, value in events:
                self._refuse_errors(value, url, request, name)
                self.identity.note(value, url)
                yield value

    def _refuse_errors(self, value: object, url: str, request: Outgoing, event: str = "") -> None:
        """Raise the error in the body of a successful response, if there is one.

        Raises:
            TransientError: Also if the server may have lost a file that was omitted.
        """
        try:
            refuse_errors(value, self._network.shown(url), event, self._secret)
        except (EngineError, TransientError) as error:
            self.media.doubt(request)
            if type(error) is EngineError and request.omitted:
                raise TransientError(error) from error
            raise

    def _check(self, status: int, headers: Mapping[str, str], content: bytes, url: str) -> None:
        self._network.check(status, headers, content, url)
        shown = self._network.shown(url)
        refuse(status, headers, self._redacted(content), shown, self._keys)

    @property
    def _secret(self) -> str:
        """API key, which some servers repeat in errors; empty if it is too short to be one."""
        key = self._options.api_key or ""
        return key if len(key) >= _SHORTEST_KEY else ""

    def _redacted(self, content: bytes) -> bytes:
        """Return a response without the API key."""
        return content.replace(self._secret.encode(), b"***") if self._secret else content

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        self._network.alive = False
        await self._http.aclose()


def _refuses_priority(status: int, content: bytes) -> bool:
    """Return whether a server refuses a request because it has no priorities."""
    return status in _UNREAD and b"priority" in content.lower()


@asynccontextmanager
async def _with_media(
    media: MediaSender, body: Json | None, missed: frozenset[str]
) -> AsyncGenerator[Outgoing]:
    """Yield the request with a body; an error about its length names images that cause it."""
    if body is None:
        yield Outgoing(b"")
        return
    async with media.outgoing(body, missed) as request:
        try:
            yield request
        except ContextTooLong as error:
            raise request.explained(error, media.limits.pixels) from error
