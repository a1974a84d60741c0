"""Ids of requests: on every response, in the log and at the model servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
_SESSION_HEADER = "x-session-id"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,127}")
_CURRENT: ContextVar[str | None] = ContextVar("id of the current request", default=None)
_SESSION: ContextVar[str | None] = ContextVar("session of the client", default=None)
_TRACE_HEADERS = ("traceparent", "tracestate")
_TRACE: ContextVar[Mapping[str, str]] = ContextVar("trace of the client", default={})  # noqa: B039


def new_request_id() -> str:
    """Return a new random id."""
    return uuid4().hex


def request_id() -> str | None:
    """Return the id of the request that the current task answers, None outside of requests."""
    return _CURRENT.get()


def session_id() -> str | None:
    """Return the session that the client names in `X-Session-Id`, None if it names none."""
    return _SESSION.get()


def trace_headers() -> Mapping[str, str]:
    """Return the headers of the current request that name the client's trace; see W3C."""
    return _TRACE.get()


def set_ids(request: str | None, session: str | None) -> None:
    """Set the ids of a request that the current task answers in the background.

    Args:
        request: Id of the request.
        session: The session that its client named.
    """
    _CURRENT.set(request)
    _SESSION.set(session)


class RequestIds:
    """ASGI middleware that gives every request an id and returns it in `X-Request-Id`.

    A client can choose the id by sending the header: up to 128 letters, digits and . _ : + / = -,
    beginning with a letter or digit. Any other value is replaced.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        chosen = given if _SAFE.fullmatch(given) else new_request_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = chosen
            await send(message)

        headers = Headers(scope=scope)
        traced = {name: headers[name] for name in _TRACE_HEADERS if name in headers}
        token, trace = _CURRENT.set(chosen), _TRACE.set(traced)
        session = _SESSION.set(headers.get(_SESSION_HEADER) or None)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _CURRENT.reset(token)
            _TRACE.reset(trace)
            _SESSION.reset(session)
