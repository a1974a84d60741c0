"""Proxies from the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

As in curl, the lower-case form of a variable takes precedence. As in Go and in browsers, loopback
addresses are never reached through a proxy: there, they would be those of the proxy's machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import httpx2

from dreamr.engines.address import Address, without_secrets
from dreamr.errors import EngineError, Unsupported

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy for the connection to a server.

    Attributes:
        url: URL of the proxy, which may contain a password. Never shown.
        variable: Environment variable that names it.
    """

    url: str = field(repr=False)
    variable: str

    def __str__(self) -> str:
        return f"the proxy {without_secrets(self.url)} of {self.variable}"


def proxy_for(address: Address, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy through which a server is reached, None if it is reached directly.

    Args:
        address: Address of the server.
        environment: Environment variables; those of the process if None.

    Raises:
        EngineError: If the variable does not name a proxy.
        Unsupported: If the package for SOCKS proxies is not installed.
    """
    variables = os.environ if environment is None else environment
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        variable = name if name in variables else name.upper()
        if url := variables.get(variable, "").strip():
            break
    else:
        return None
    exceptions = variables.get("no_proxy", variables.get("NO_PROXY", ""))
    if _is_loopback(address.host) or _excepted(address, exceptions):
        return None
    return _checked(Proxy(url if "://" in url else f"http://{url}", variable))


def _checked(proxy: Proxy) -> Proxy:
    try:
        parts = urlsplit(proxy.url)
        httpx2.URL(proxy.url)  # is stricter
        known = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except (ValueError, httpx2.InvalidURL):  # such as a port that is not a number
        known = False
    if not known:
        raise EngineError(
            f"the environment variable {proxy.variable} does not name a proxy that can be used: "
            "write http://host:port, https://host:port or socks5://host:port"
        )
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise Unsupported(
            f"{proxy} needs the package socksio, which is not installed: run pip install socksio, "
            "or name the server in NO_PROXY"
        )
    return proxy


def _excepted(address: Address, exceptions: str) -> bool:
    """Return whether NO_PROXY names a server: by name, domain, IP address or network."""
    port = urlsplit(address.base).port or (443 if address.scheme == "https" else 80)
    for entry in re.split(r"[,\s]+", exceptions.lower()):
        name, _, only = entry.rpartition(":") if re.fullmatch(r"[^:]+:\d+|\[.*\]:\d+", entry) else (
            entry, "", "",
        )  # fmt: skip
        if only and int(only) != port:
            continue
        name = name.strip("[]").removeprefix("*").removeprefix(".")
        if entry == "*" or (name and _matches(address.host, name)):
            return True
    return False


def _matches(host: str, name: str) -> bool:
    try:
        return ip_address(host) in ip_network(name, strict=False)
    except ValueError:  # a name
        return host == name or host.endswith(f".{name}")


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
