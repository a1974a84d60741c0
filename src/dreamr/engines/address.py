"""Addresses of model servers: what counts as one, and the URL that it stands for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from dreamr._messages import short_path
from dreamr.errors import ModelNotFound

# Hugging Face IDs and most folders contain neither a colon nor an @.
_URL = re.compile(r"(?i).*://.*|https?:.*|https?//.*")
_BARE = re.compile(
    r"""(?ix)
    (?: [^/@\s]*@ )?                                           # user and password
    (?: (?:localhost | \d+(?:\.\d+){3} | \[[^]/]*\]) (?::\d*)? # a host that cannot be a name
      | [\w.-]* : \d+                                          # any host with a port
      | [0-9a-f]* : [0-9a-f.]* : [0-9a-f:.]*                   # IPv6 without brackets
      | [\w-]+ (?:\.[\w-]+)+ (?=/v1/?$)                        # a domain with the API's path
      | \w[\w.-]* (?=/v1/(?:chat/completions|completions|models|audio/transcriptions)$)
    )
    (?: [/?\#] .* )?
    """
)
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")  # IDNA names included
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
# Endpoints that are pasted instead of the base URL.
_ENDPOINT = re.compile(
    r"(?:/(?:chat/completions|completions|models|responses|embeddings|messages"
    r"|audio/transcriptions))+$"
)
_OTHER_PATHS = (
    "/health", "/metrics", "/version", "/docs", "/openapi.json", "/props", "/api/chat",
    "/api/generate", "/api/tags",
)  # fmt: skip
_HUB = ("huggingface.co", "www.huggingface.co", "hf.co")
_LONGEST = 500  # characters
_FORM = "http://host:port/v1"
_AROUND = " \t\r\n\v\f\ufeff\u00a0\"'<>"  # of pasted addresses
_KEY = "set the environment variable DREAMR_API_KEY"


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a model server.

    Attributes:
        base: Base URL of the OpenAI API, to which paths are appended.
        host: Name or IP address of the server, in lower case and without brackets.
    """

    base: str
    host: str

    @property
    def root(self) -> str:
        """Base URL of the server's other paths, such as /health."""
        return self.base.removesuffix("/v1")

    @property
    def scheme(self) -> str:
        """Protocol, http or https."""
        return self.base.partition(":")[0]


def is_address(text: str) -> bool:
    """Return whether a text is meant as the address of a server.

    This includes addresses without http://, such as `localhost:8000`, unless a folder has that
    name, and addresses that `parse_address` refuses.
    """
    given = text.strip(_AROUND)
    shaped = _URL.fullmatch(given) or _BARE.fullmatch(given)
    return shaped is not None and not os.path.isdir(given)


@lru_cache(64)
def parse_address(text: str) -> Address:
    """Return the address of a model server.

    White space and quotes around it, a missing /v1, the path of an endpoint and a fragment are
    corrected. The protocol may be left out for IP addresses and names without a dot; it is then
    HTTP, or HTTPS on port 443.

    Raises:
        ModelNotFound: If the text is not the address of a server. The message names the right form
            and shows neither a password nor a query.
    """
    given = text.strip(_AROUND)
    if "@" in given:
        raise ModelNotFound(f"a server URL must not contain a user name or a password: {_KEY}")
    if len(given) > _LONGEST:
        _refuse(given, f"it has more than {_LONGEST} characters")
    if not given.isprintable() or re.search(r"[\s\\\"'<>`{}|^]", given):
        _refuse(given)
    parts = _split(_with_scheme(given), given)
    if parts.scheme not in ("http", "https"):
        _refuse(given, "begin the address of a server with http:// or https://")
    if parts.hostname in _HUB:
        _refuse(given, "to load a model of the Hugging Face hub, write its id, owner/name")
    base = f"{parts.scheme}://{_authority(parts, given)}{_path(parts.path)}"
    if parts.query:
        raise ModelNotFound(f"a server URL must not contain a query (after ?): write {base}")
    return Address(base, (parts.hostname or "").lower())


def names_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is a loopback address or localhost."""
    found = _HOST_AND_PORT.fullmatch(host.strip())
    name = "" if found is None else found[1].strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def without_secrets(url: str) -> str:
    """Return a URL for messages: without user, password, query and fragment."""
    shown = url.strip().partition("?")[0].partition("#")[0]
    scheme, slashes, rest = shown.rpartition("://")
    place, slash, path = rest.partition("/")
    return short_path(f"{scheme}{slashes}{place.rpartition('@')[2]}{slash}{path}")


def _with_scheme(given: str) -> str:
    """Return the address with a scheme.

    Raises:
        ModelNotFound: If there is none and it cannot be inferred.
    """
    if "://" in given:
        return given
    if slip := re.match(r"(?i)(https?)(?::/?|//)(?!\d+(?:/|$))", given):  # http:/host, http//host
        rest = without_secrets(given[slip.end() :]).lstrip("/") or "host:port/v1"
        _refuse(given, f"write {slip[1].lower()}://{rest}")
    parts = _split(f"//{given}", given)
    host = parts.hostname
    if not host:
        _refuse(given, f"write {parse_address(f'http://localhost{given}').base}")
    if "." in host and not _is_ip(host):  # HTTP would send the API key in plain text
        secure = parse_address(f"https://{given}").base
        _refuse(given, f"write {secure} or http{secure.removeprefix('https')}")
    return f"{'https' if parts.port == 443 else 'http'}://{given}"


def _split(url: str, given: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are not closed or hold no IP address
        _refuse(given)
    if "[" not in parts.netloc and parts.netloc.count(":") > 1:
        _refuse(given, "write an IPv6 address in brackets, http://[::1]:8000/v1 for example")
    try:
        port = parts.port
    except ValueError:  # not a number, or out of range
        port = 0
    if port == 0:
        _refuse(given, "write a port from 1 to 65535")
    return parts


def _authority(parts: SplitResult, given: str) -> str:
    host = (parts.hostname or "").lower()
    if not host:
        _refuse(given)
    if ":" in host:
        if not _is_ip(host.partition("%")[0]):
            _refuse(given)
        host = f"[{host}]"
    elif not _HOST.fullmatch(host):
        _refuse(given)
    return host if parts.port is None else f"{host}:{parts.port}"


def _path(path: str) -> str:
    """Return the path of the API: without an endpoint, and /v1 if nothing is left."""
    plain = _ENDPOINT.sub("", re.sub("/+", "/", path).rstrip("/"))
    return "/v1" if plain in ("", *_OTHER_PATHS) else plain


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refuse(given: str, hint: str = f"write {_FORM}") -> NoReturn:
    raise ModelNotFound(f"{without_secrets(given)} is not a server URL: {hint}")
