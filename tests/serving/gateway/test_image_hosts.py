from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import BadOption
from dreamr.serving.gateway.image_hosts import ImageHosts, is_public

HOSTS = ImageHosts.parse(
    ["pics.example", "Other.Example:8080", "[2606:4700::1]:81", "2606:4700::2"]
)


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("pics.example", 80, True), ("pics.example", 443, True), ("PICS.example.", 443, True),
        ("pics.example", 8080, False), ("pics.example", 22, False), ("pics.example", 99999, False),
        ("pics.example", 0, False), ("pics.example", -1, False), ("other.example", 8080, True),
        ("other.example", 80, False), ("2606:4700::1", 81, True), ("2606:4700::1", 80, False),
        ("2606:4700::2", 80, True), ("evil-pics.example", 80, False), ("", 80, False),
    ],
)  # fmt: skip
def test_hosts_are_allowed_with_the_usual_ports_or_their_own(
    host: str, port: int, allowed: bool
) -> None:
    assert HOSTS.allow(host, port) is allowed


@pytest.mark.parametrize("entry", ["pics.example:0", "pics.example:99999"])
def test_a_port_out_of_range_is_a_bad_option(entry: str) -> None:
    with pytest.raises(BadOption, match="--allowed-media-domains"):
        ImageHosts.parse([entry])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1",
        "255.255.255.255", "224.0.0.1", "198.18.0.1", "192.0.0.192", "168.63.129.16",
        "100.100.100.200", "::", "::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1",
        "2001:db8::1", "::ffff:127.0.0.1", "::ffff:168.63.129.16", "::127.0.0.1", "::8.8.8.8",
        "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::168.63.129.16", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:808:808::", "2001:0:1::1", "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_internal_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:{}", "64:ff9b::{}"]))
def test_an_address_in_an_address_is_judged_like_itself(number: int, form: str) -> None:
    inner = ipaddress.IPv4Address(number)
    assert is_public(form.format(inner)) == is_public(str(inner))
