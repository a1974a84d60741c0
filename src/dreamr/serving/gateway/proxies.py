"""The address of a client, also if it is connected through trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.types import Scope

from dreamr._option_specs import BadOption, listed

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

_MOST_HOPS = 32  # addresses of a header that are looked at
_FOR = re.compile(r'(?i)(?:^|;)\s*for\s*=\s*("[^"]*"|[^;]*)')
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5}")


class TrustedProxies:
    """Finds the addresses of clients, which may be connected through proxies.

    `X-Forwarded-For` and `Forwarded` are read only if the connection comes from a trusted proxy.
    The client is the rightmost address in them that is not a trusted proxy's: everything left of it
    was written by the client itself.

    Args:
        networks: Addresses and networks of trusted proxies, comma-separated.

    Raises:
        BadOption: If one of them is neither.
    """

    def __init__(self, networks: str | None = None) -> None:
        self._networks = [_network(text) for text in listed(networks)]

    def client(self, scope: Scope) -> str:
        """Return the client's address, for IPv6 its network of 64 bits.

        A client can use all addresses of such a network, and must not count as several.
        """
        given = scope.get("client")
        peer = None if given is None else _address(given[0])
        if peer is None:
            return "local"
        if self._trusts(peer):
            peer = self._forwarded(peer, Headers(scope=scope))
        if isinstance(peer, IPv6Address):
            return str(ip_network((peer, 64), strict=False))
        return str(peer)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _forwarded(self, peer: _Address, headers: Headers) -> _Address:
        """Return the client that a trusted proxy names; the proxy itself if it names none."""
        usual = _items(headers.getlist("x-forwarded-for"))
        standard = [_for(item) for item in _items(headers.getlist("forwarded"))]
        found = {self._rightmost(peer, chain) for chain in (usual, standard) if chain}
        # A proxy sets one of them and may pass on the client's other one: believe neither then.
        return found.pop() if len(found) == 1 else peer

    def _rightmost(self, peer: _Address, chain: Sequence[str | None]) -> _Address:
        last = peer
        for text in chain[: -_MOST_HOPS - 1 : -1]:
            address = None if text is None else _address(text)
            if address is None:
                return last
            last = address
            if not self._trusts(address):
                return last
        return last


def _network(text: str) -> _Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise BadOption(
            "--trusted-proxies takes addresses and networks such as 10.0.0.0/8: one of those given "
            "is neither"
        ) from error


def _items(lines: Iterable[str]) -> list[str]:
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _for(element: str) -> str | None:
    """Return the address in an element of `Forwarded` (RFC 7239), None if it has none."""
    found = _FOR.search(element)
    return found[1].strip().strip('"') if found else None


def _address(text: str) -> _Address | None:
    """Return an address, given with or without a port; None if it is not one."""
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    if "%" in text:  # a zone can be any text
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
