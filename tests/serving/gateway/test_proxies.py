"""The address of a client: believed only from trusted proxies, and only if it is one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._option_specs import BadOption
from dreamr.serving.gateway.proxies import TrustedProxies

TRUSTED = "10.0.0.0/8, ::1,127.0.0.1"


def client(peer: str, *headers: tuple[str, str], trusted: str | None = TRUSTED) -> str:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "client": (peer, 1), "headers": raw}
    return TrustedProxies(trusted).client(scope)


def usual(value: str) -> tuple[str, str]:
    return "x-forwarded-for", value


@pytest.mark.parametrize(
    ("peer", "value", "found"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, junk", "10.0.0.1"),
        ("10.0.0.1", "junk, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "fe80::1%\x1b[31m", "10.0.0.1"),
        ("10.0.0.1", "\x1b]0;title\x07", "10.0.0.1"),
        ("10.0.0.1", "010.1.1.1", "10.0.0.1"),
        ("testclient", "198.51.100.1", "local"),
    ],
)
def test_the_rightmost_address_that_is_not_trusted_is_the_client(
    peer: str, value: str, found: str
) -> None:
    assert client(peer, usual(value)) == found


def test_nobody_is_trusted_by_default() -> None:
    assert client("127.0.0.1", usual("198.51.100.1"), trusted=None) == "127.0.0.1"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("for=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
        ('proto=https; For="[2001:db8:1::7]:80"', "2001:db8:1::/64"),
        ('for=1.2.3.4, for="198.51.100.1:99"', "198.51.100.1"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_too(value: str, found: str) -> None:
    assert client("10.0.0.1", ("forwarded", value)) == found


def test_headers_that_disagree_are_not_believed() -> None:
    both = (usual("198.51.100.1"), ("forwarded", "for=198.51.100.2"))
    assert client("10.0.0.1", *both) == "10.0.0.1"
    same = (usual("198.51.100.1"), ("forwarded", "for=198.51.100.1"))
    assert client("10.0.0.1", *same) == "198.51.100.1"


def test_several_lines_are_one_list() -> None:
    lines = (usual("1.2.3.4"), usual("198.51.100.1"))
    assert client("10.0.0.1", *lines) == "198.51.100.1"


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=80))
def test_only_addresses_come_out(value: str) -> None:
    found = client("10.0.0.1", usual(value), ("forwarded", value))
    ip_address(found.partition("/")[0])


@pytest.mark.parametrize("networks", ["*", "10.0.0.0/99", "proxy.example", "10.0.0.1, x"])
def test_trusted_proxies_are_addresses_and_networks(networks: str) -> None:
    with pytest.raises(BadOption, match="--trusted-proxies takes addresses and networks"):
        TrustedProxies(networks)
