"""The host that a request names, and its check on loopback."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dreamr.engines.address import names_loopback
from dreamr.serving.gateway.errors import bad_request, shortened

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^?#]*)", re.IGNORECASE)


class OriginForm:
    """Middleware that accepts the whole URL as the target of a request, as proxies send it.

    The host of the URL then counts instead of the header `Host` (RFC 9112, section 3.2.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = _ABSOLUTE.match(scope.get("raw_path", b""))
        if found is not None:
            raw = found[2] or b"/"
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            host = found[1].rpartition(b"@")[2]
            scope = {
                **scope,
                "raw_path": raw,
                "path": unquote(raw.decode("ascii")),
                "headers": [(b"host", host), *headers],
            }
        await self._app(scope, receive, send)


class LocalHostsOnly:
    """Middleware that refuses requests whose header `Host` names another machine.

    Against DNS rebinding: web pages of others may resolve their host name to loopback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = scope.get("headers", ())  # none in the events of start and end
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        others = [host for host in hosts if not names_loopback(host)]
        if not others:
            await self._app(scope, receive, send)
            return
        error = bad_request(
            f"the host {shortened(others[0])} is not this machine: use 127.0.0.1 or localhost, or "
            "start the gateway with --host",
            code="host_not_allowed",
        )
        await JSONResponse(error.body, error.status)(scope, receive, send)
