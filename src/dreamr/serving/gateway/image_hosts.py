"""The hosts from which images may be fetched, and the addresses that are never contacted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import anyio

from dreamr._option_specs import BadOption

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_LAST_PORT = 65535
_PORTS = frozenset({80, 443})
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; the last four bytes are an IPv4 address
# Tunnels and translations that lead to addresses which cannot be checked, and site-local addresses.
_REFUSED = tuple(
    map(IPv6Network, ("64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10"))
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # bytes 8 to 11, before an IPv4 address
# Metadata services of clouds on addresses that count as public, or once did.
_METADATA = frozenset(
    map(IPv4Address, ("168.63.129.16", "192.0.0.192", "100.100.100.200", "169.254.169.254"))
)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve a host name to IP addresses."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class ImageHosts:
    """Hosts that are allowed, each with the default ports or with one port of its own.

    Attributes:
        any_port: Hosts without a port: ports 80 and 443 are allowed.
        one_port: Hosts with a port.
    """

    any_port: frozenset[str]
    one_port: frozenset[tuple[str, int]]

    @classmethod
    def parse(cls, names: Iterable[str]) -> ImageHosts:
        """Parse entries such as `pics.example`, `pics.example:8080` and `[2001:db8::1]:8080`.

        Raises:
            BadOption: If a port is out of range.
        """
        plain: set[str] = set()
        with_port: set[tuple[str, int]] = set()
        for name in names:
            host, colon, port = name.rpartition(":")
            if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
                if not 1 <= int(port) <= _LAST_PORT:
                    raise BadOption(
                        f"--allowed-media-domains: port {port} is not 1 to {_LAST_PORT}"
                    )
                with_port.add((normal_host(host), int(port)))
            else:
                plain.add(normal_host(name))
        return cls(frozenset(plain), frozenset(with_port))

    def allow(self, host: str, port: int) -> bool:
        """Return whether images may be fetched from a port of a host."""
        host = normal_host(host)
        return (host, port) in self.one_port or (port in _PORTS and host in self.any_port)


def normal_host(host: str) -> str:
    """Return a host name in lower case, without brackets and final dot."""
    return host.strip().strip("[]").rstrip(".").lower()


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet.

    Addresses within which an IPv4 address travels are judged by that one, or refused.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped
        if inner is None and found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is None:
            return _is_public_ipv6(found)
        found = inner
    return found.is_global and not found.is_multicast and found not in _METADATA


def _is_public_ipv6(address: IPv6Address) -> bool:
    if any(address in network for network in _REFUSED):
        return False
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    return address.is_global and not address.is_multicast
