"""The network under an HTTP client: TLS, the proxy, and why a server cannot be reached."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2

from dreamr._messages import one_line, reason, short_path
from dreamr.engines.address import parse_address, without_secrets
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.proxies import proxy_for
from dreamr.engines.http.retries import TransientError
from dreamr.errors import EngineError, EngineLost, ModelNotFound

_IDLE_SECONDS = 4.0  # of a connection that is kept; servers with uvicorn close theirs after 5
_MOST_BYTES = 64 * 2**20  # of one response that is not streamed
_HOST_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = (2, 18, 19, 20, 21)  # no path to a certificate authority that is known
# What OpenSSL reports if the other side answers in plain text, by version.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
)
# What nginx, Go and Apache answer to plain HTTP on a port for HTTPS.
_EXPECTS_TLS = re.compile(rb"(?i)HTTP request (was sent )?to (an )?HTTPS|speaking plain HTTP")

Found = TypeVar("Found", bound=BaseException)


class Network:
    """Connections to one server, directly or through a proxy.

    Args:
        options: Address and limits.
        transport: Replaces the network in tests.
        on_break: Called when a connection breaks or cannot be opened.

    Attributes:
        http: The HTTP client.
        reached: Whether the server or its proxy has ever answered.
        alive: Whether the server could be reached at the last request.

    Raises:
        EngineError: If a variable of the environment for TLS or proxies cannot be used.
        Unsupported: If the package for SOCKS proxies is not installed.
    """

    def __init__(
        self,
        options: HttpOptions,
        transport: httpx2.AsyncBaseTransport | None,
        on_break: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_break = on_break
        self._address = parse_address(options.url)
        self._connect_seconds = options.connect_seconds
        self._proxy = proxy_for(self._address) if transport is None else None
        self.reached = False
        self.alive = True
        secure = self._address.scheme == "https" or (
            self._proxy is not None and self._proxy.url.startswith("https:")
        )
        # Not by `trust_env`, which would also read proxies in a way that messages cannot report.
        context = _tls_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {options.api_key}"} if options.api_key else {},
            timeout=httpx2.Timeout(options.silent_seconds, connect=options.connect_seconds),
            # A run holds several streams: with a limit, all could wait for the connections that
            # they hold themselves. The number of runs is limited instead.
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            transport=transport,
            proxy=self._proxy_for_client(context),
            verify=context,
            follow_redirects=False,
            trust_env=False,
        )

    def _proxy_for_client(self, context: ssl.SSLContext) -> httpx2.Proxy | None:
        if self._proxy is None:
            return None
        secure = self._proxy.url.startswith("https:")
        return httpx2.Proxy(self._proxy.url, ssl_context=context if secure else None)

    def shown(self, url: str) -> str:
        """Return a URL for messages, with the proxy if there is one."""
        return url if self._proxy is None else f"{url} (through {self._proxy})"

    @asynccontextmanager
    async def reaching(self, url: str) -> AsyncGenerator[None]:
        """Turn errors of the network inside a block into errors of dreamr.

        Raises:
            TransientError: If the request should be sent again.
            EngineLost: If the server can never be reached with this address and environment.
            EngineError: If the request cannot be sent.
        """
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self.alive = False
            self._on_break()
            raise self._unreachable(url, error) from error
        except httpx2.ProxyError as error:
            self.alive = False
            raise self._refused_by_proxy(url, error) from error
        except httpx2.TimeoutException as error:
            raise TransientError(
                EngineLost(f"{self.shown(url)} stopped responding: check the server's log")
            ) from error
        except httpx2.SSEError as error:
            raise EngineError(
                f"{self.shown(url)} did not stream events: {reason(error)}"
            ) from error
        except (httpx2.LocalProtocolError, UnicodeError) as error:  # texts that quote the request
            raise EngineError(
                f"the request to {self.shown(url)} contains characters that cannot be sent"
            ) from error
        except httpx2.TransportError as error:
            if await self._expects_tls():
                raise EngineLost(self._use("https")) from error
            self._on_break()
            why = _reason(error)
            raise TransientError(
                EngineLost(f"the connection to {self.shown(url)} was interrupted: {why}")
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise EngineError(
                f"the request to {self.shown(url)} failed: {_reason(error)}"
            ) from error

    def check(self, status: int, headers: Mapping[str, str], content: bytes, url: str) -> None:
        """Note that an answer came, and refuse answers that are not from the API.

        Raises:
            EngineLost: If the answer is a redirect, or asks for HTTPS or for the proxy's password.
            ModelNotFound: If the address is not that of an API.
        """
        self.reached = self.alive = True
        if status in (301, 302, 303, 307, 308):
            raise EngineLost(_redirect(url, headers.get("location", ""), self._address.base))
        if status == 400 and self._address.scheme == "http" and _EXPECTS_TLS.search(content):
            raise EngineLost(self._use("https"))
        base = self._address.base
        if status == 404 and url == f"{base}/models":
            hint = "correct the address" if base.endswith("/v1") else f"write {base}/v1"
            raise ModelNotFound(
                f"{self.shown(url)} does not exist (status 404), so {base} is not the address of "
                f"an API: {hint}"
            )
        if status == 407 and self._proxy is not None:
            raise EngineLost(
                f"{self._proxy} requires a password: write http://user:password@host:port in "
                f"{self._proxy.variable}"
            )

    def _unreachable(self, url: str, error: Exception) -> TransientError | EngineLost:
        """Return the error of a connection that could not be opened."""
        if isinstance(error, httpx2.ConnectTimeout):
            why = f"no answer within {self._connect_seconds:g} s"
            advice = "check the address and the firewall"
        elif (failed := _cause(error, ssl.SSLError)) is not None:
            return self._tls_failure(failed)
        elif (unknown := _cause(error, socket.gaierror)) is not None:
            host = self._address.host if self._proxy is None else "of the proxy"
            why = f"the name {host} cannot be resolved: {reason(unknown)}"
            advice = "check the address and the network"
        else:
            refused = _cause(error, ConnectionRefusedError)
            why = "connection refused" if refused is not None else _reason(error)
            advice = "is the server running?"
        if self._proxy is not None:
            variable, host = self._proxy.variable, self._address.host
            advice = f"correct {variable}, or add {host} to NO_PROXY"
        return TransientError(EngineLost(f"cannot connect to {self.shown(url)} ({why}): {advice}"))

    def _tls_failure(self, error: ssl.SSLError) -> EngineLost:
        """Return the error of a TLS handshake that failed."""
        server = f"{self._address.scheme}://{urlsplit(self._address.base).netloc}"
        server = server if self._proxy is None else f"{server} or of {self._proxy}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return EngineLost(f"the certificate of {server} {self._distrust(error)}")
        if (error.reason or "") in _NOT_TLS and self._proxy is None:
            return EngineLost(self._use("http"))
        why = (error.reason or "the connection was closed").replace("_", " ").lower()
        return EngineLost(
            f"no TLS connection to {server} ({why}): check that the port is one for HTTPS"
        )

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        """Return why a certificate is not accepted, and what to do."""
        code = error.verify_code
        if code == _EXPIRED:
            return "has expired: renew it, or check the clock of this machine"
        if code == _NOT_YET_VALID:
            return "is not valid yet: check the clocks of both machines"
        if code in _HOST_MISMATCH:
            return f"is not valid for {self._address.host}: use a name that it was issued for"
        if code in _UNTRUSTED:
            return (
                f"is not trusted ({one_line(error.verify_message)}): name a file with its "
                "certificate authority in the environment variable SSL_CERT_FILE, or a folder in "
                "SSL_CERT_DIR"
            )
        return f"is not accepted: {one_line(error.verify_message)}"

    def _use(self, scheme: str) -> str:
        """Return the message about the wrong protocol."""
        base = self._address.base
        is_tls = scheme == "https"
        found = "expects HTTPS" if is_tls else "does not speak TLS"
        return f"{base} {found}: write {scheme}{base.removeprefix(self._address.scheme)}"

    def _refused_by_proxy(self, url: str, error: httpx2.ProxyError) -> TransientError | EngineLost:
        variable = "the environment" if self._proxy is None else self._proxy.variable
        why = reason(error)
        if why.startswith("407"):
            return EngineLost(
                f"{self._proxy} requires a password: write http://user:password@host:port in "
                f"{variable}"
            )
        return TransientError(
            EngineLost(
                f"{self._proxy} does not connect to {without_secrets(url)} ({why}): correct "
                f"{variable}, or add {self._address.host} to NO_PROXY"
            )
        )

    async def _expects_tls(self) -> bool:
        """Find out whether a server that does not answer to HTTP speaks TLS."""
        if self.reached or self._proxy is not None or self._address.scheme == "https":
            return False
        parts = urlsplit(self._address.base)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
        try:
            with anyio.fail_after(self._connect_seconds):
                stream = await anyio.connect_tcp(
                    parts.hostname or "", parts.port or 80, ssl_context=context
                )
            await anyio.aclose_forcefully(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):  # TimeoutError included
            return False
        return True


def _tls_context() -> ssl.SSLContext:
    """Return the trusted certificates: SSL_CERT_FILE, SSL_CERT_DIR or those of the system.

    Raises:
        EngineError: If a variable names nothing that can be used.
    """
    for variable, exists in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        path = os.environ.get(variable)
        if path and not exists(path):
            kind = "file" if variable == "SSL_CERT_FILE" else "folder"
            raise EngineError(
                f"{variable} names {short_path(path)}, which is not a {kind}: correct or unset it"
            )
        if path:
            break  # the library reads the folder only without the file
    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # ssl.SSLError included
        raise EngineError(
            f"SSL_CERT_FILE names {short_path(os.environ.get('SSL_CERT_FILE', ''))}, which cannot "
            f"be read as certificates: name a file in PEM format"
        ) from error


def _redirect(url: str, location: str, base: str) -> str:
    """Return the message about a redirect, with the address to use if it can be inferred."""
    try:
        target = without_secrets(urljoin(url, location)) if location else "no address"
    except ValueError:  # an unclosed bracket
        target = without_secrets(location)
    path = url.removeprefix(base)
    if path != url and target.rstrip("/").endswith(path):
        try:
            found = parse_address(target).base
        except ModelNotFound:
            found = ""
        if found and found != base:
            return f"{url} redirects to {target}: write {found} as the address of the model"
    return f"{url} redirects to {target}: give the address of the API itself"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, across groups of errors."""
    waiting, seen = [error], 0
    while waiting and seen < 50:
        one, seen = waiting.pop(0), seen + 1
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if (cause := one.__cause__ or one.__context__) is not None:
            waiting.append(cause)


def _cause(error: BaseException, kind: type[Found]) -> Found | None:
    return next((one for one in _causes(error) if isinstance(one, kind)), None)


def _reason(error: BaseException) -> str:
    """Return the most precise reason among an error and its causes."""
    known = next((one for one in _causes(error) if isinstance(one, OSError) and one.strerror), None)
    if known is not None:
        return reason(known)
    text = one_line(error)
    if "disconnected" in text:
        return "the server closed it without an answer"
    if isinstance(error, httpx2.RemoteProtocolError):  # its text quotes the bytes received
        return "the answer is not valid HTTP"
    return text or "no reason given"


async def read_body(response: httpx2.Response, url: str, more: int = 0) -> bytes:
    """Return the body of a response.

    Args:
        response: The response.
        url: Address, for messages.
        more: By how many bytes it may be longer than others.

    Raises:
        EngineError: If it is too large.
    """
    content, most = bytearray(), _MOST_BYTES + more
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > most:
            raise EngineError(f"{url} returned more than {most >> 20} MiB")
    return bytes(content)
