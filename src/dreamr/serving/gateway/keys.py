"""API keys and the identity of clients."""

from __future__ import annotations

import codecs
import errno
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dreamr._api_keys import clean_key
from dreamr._files import read_bytes
from dreamr._messages import reason, short_path
from dreamr._option_specs import BadOption, listed
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.proxies import TrustedProxies
from dreamr.serving.gateway.quotas import read_limit
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import NO_LIMITS, Limits

VARIABLE = "DREAMR_SERVE_KEYS"
_MOST_BYTES = 2**20
_LIMITS = re.compile(r"(?:\s+[A-Za-z_]+=\S*)+\s*$")  # after a key
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PRIORITY = re.compile(r"-?[0-9]{1,3}")
_MOST_SECONDS = 86400
OWNER_HEADER = "x-dreamr-owner"  # of requests in this process
_OWNER = "dreamr.client"  # in the scope of a request whose client is known
_COMMENT = re.compile(r"(?:^|\s)\s*#.*")  # a # inside a key does not begin a comment


@dataclass(frozen=True, slots=True)
class Client:
    """A client of the gateway.

    Attributes:
        name: Name in the log: the one in the file of keys, a digest of the key, or an address.
        limits: Limits of all its requests together.
        priority: Priority of its requests, as in vLLM: lower ones are served first.
        deadline: Longest time of a request in seconds, None for that of the gateway.
        cache_salt: Keeps its prompts apart from those of others in the caches of model servers.
            None if clients have no keys.
    """

    name: str
    limits: Limits = NO_LIMITS
    priority: int = 0
    deadline: float | None = None
    cache_salt: str | None = None


def read_keys(options: ServeOptions) -> Mapping[str, Client]:
    """Read the accepted API keys from the key file or the environment.

    The file has one key per line, and after it the name of its client and limits, such as
    `KEY name=alice running=4 requests=60 tokens=100000 priority=1 deadline=20`. Keys of one name
    are one client. Blank lines and comments, which begin with #, are ignored. It may be written on
    any system: as UTF-8 or UTF-16, with or without a byte order mark.

    Returns:
        The clients by key; empty if the gateway is open to all clients.

    Raises:
        BadOption: If the file cannot be read or contains no key, a key has characters that a key
            cannot have, or a limit is invalid.
    """
    if options.keys_file is None:
        given = listed(os.environ.get(VARIABLE))
        return _keys((VARIABLE, text) for text in given)
    name = f"--keys-file {short_path(options.keys_file)}"
    lines = _read_text(Path(options.keys_file), name).splitlines()
    keys = _keys(
        (f"{name}, line {number}", _COMMENT.sub("", line)) for number, line in enumerate(lines, 1)
    )
    if not keys:
        raise BadOption(f"{name} contains no key: write one key per line")
    return keys


def _keys(given: Iterable[tuple[str, str]]) -> Mapping[str, Client]:
    """Return the clients by key, from places and texts."""
    clients: dict[str, Client] = {}
    named: dict[str, Client] = {}
    for place, text in given:
        limits = _LIMITS.search(text)
        key = clean_key(text[: limits.start()] if limits else text, place)
        if key is None:
            continue
        client = _client(key, limits[0].split() if limits else (), place)
        if named.setdefault(client.name, client) != client:
            raise BadOption(f"{place} has other limits than an earlier key of {client.name}")
        clients[key] = client
    return clients


def _client(key: str, fields: Iterable[str], place: str) -> Client:
    name, limits, priority, deadline = _digest(key).hex()[:12], {}, 0, None
    for field in fields:
        what, _, value = field.partition("=")
        match what:
            case "name" if _NAME.fullmatch(value):
                name = value
            case "name":
                raise BadOption(
                    f"the name in {place} must have 1 to 64 letters, digits and . _ - only"
                )
            case "priority":
                priority = _priority(value, place)
            case "deadline":
                deadline = _deadline(value, place)
            case "running" | "requests" | "tokens":
                limits[what] = read_limit(value, f"{what} in {place}")
            case _:
                raise BadOption(
                    f"{place} has an unknown field after the key: use name, running, requests, "
                    "tokens, priority or deadline, such as requests=60"
                )
    # Known to the model servers only: clients do not learn the salt of others.
    salt = _digest(f"cache of {name}").hex()[:32]
    return Client(name, Limits(**limits), priority, deadline, salt)


def _priority(text: str, place: str) -> int:
    if not _PRIORITY.fullmatch(text):
        raise BadOption(f"priority in {place} must be an integer from -999 to 999")
    return int(text)


def _deadline(text: str, place: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise BadOption(f"deadline in {place} must be a number of seconds up to {_MOST_SECONDS}")
    return seconds


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _read_text(path: Path, name: str) -> str:
    try:
        content = read_bytes(path, most=_MOST_BYTES, pipes=True)
    except OSError as error:
        too_large = f"it is larger than {_MOST_BYTES // 2**20} MB"
        why = too_large if error.errno == errno.EFBIG else reason(error)
        raise BadOption(f"cannot read {name}: {why}") from error
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise BadOption(f"cannot read {name}: it is not UTF-8 text") from error


def _encoding(content: bytes) -> str:
    """Return the encoding of a text file, from its byte order mark or its NUL bytes."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content[:2]:  # keys are ASCII, so each character has one NUL byte
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    return "utf-8-sig"


class ApiKeys:
    """Authentication of clients by API key.

    Only digests of the keys are kept and shown.

    Args:
        clients: The clients by key; if empty, all clients are accepted.
        proxies: Finds the addresses of clients without keys.
        one_client: Whether all requests come from one client, whatever the keys.
    """

    def __init__(
        self,
        clients: Mapping[str, Client],
        proxies: TrustedProxies | None = None,
        *,
        one_client: bool = False,
    ) -> None:
        self._proxies = proxies or TrustedProxies()
        self._one_client = one_client
        self.replace(clients)

    def replace(self, clients: Mapping[str, Client]) -> None:
        """Accept these keys from now on."""
        self._clients = {_digest(key): client for key, client in clients.items()}

    @property
    def open(self) -> bool:
        """Whether all clients are accepted."""
        return not self._clients

    @property
    def shared(self) -> bool:
        """Whether there can be more than one client."""
        if self._one_client:
            return False
        return self.open or len({client.name for client in self._clients.values()}) > 1

    def named(self, name: str) -> Client | None:
        """Return the client of a name, None if it has no key any more."""
        if self.open:
            return Client(name)
        return next((one for one in self._clients.values() if one.name == name), None)

    def client(self, request: Request) -> Client:
        """Return the client: that of its key, or its address without keys.

        Raises:
            ApiError: If the key is missing or unknown (401).
        """
        if (known := request.scope.get(_OWNER)) is not None:
            assert isinstance(known, Client)
            return known
        if self.open:
            return Client(self._proxies.client(request.scope))
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":  # the clients of Anthropic have a header of their own
            key = request.headers.get("x-api-key", "")
        digest = _digest(key.strip())
        # Compare with all keys, each in constant time, so that timing reveals nothing.
        known = [own for own in self._clients if hmac.compare_digest(digest, own)]
        if not known:
            raise ApiError(
                401,
                "the API key is missing or unknown: send the header Authorization: Bearer KEY",
                "authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return self._clients[known[0]]


class Owners:
    """ASGI middleware for requests of this process, which name their client in a header.

    Args:
        app: The application.
        keys: Knows the clients.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = self._keys.named(Headers(scope=scope).get(OWNER_HEADER, ""))
        known = {} if client is None else {_OWNER: client}
        await self._app({**scope, **known}, receive, send)
