from __future__ import annotations

import pytest

from dreamr.engines.address import parse_address
from dreamr.engines.http.proxies import proxy_for
from dreamr.errors import EngineError, Unsupported

ALL = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2", "ALL_PROXY": "rest:3"}


def chosen(url: str, **environment: str) -> str | None:
    proxy = proxy_for(parse_address(url), environment)
    return None if proxy is None else proxy.url


def test_the_protocol_of_the_server_decides_which_variable_is_read() -> None:
    assert chosen("http://gpu", **ALL) == "http://plain:1"
    assert chosen("https://gpu", **ALL) == "http://secure:2"
    assert chosen("https://gpu", ALL_PROXY="rest:3") == "http://rest:3"
    assert chosen("http://gpu") is None


def test_the_lower_case_form_takes_precedence_even_if_it_is_empty() -> None:
    assert chosen("http://gpu", http_proxy="low:1", HTTP_PROXY="high:1") == "http://low:1"
    assert chosen("http://gpu", http_proxy="", HTTP_PROXY="high:1") is None
    assert chosen("http://gpu", **ALL, no_proxy="", NO_PROXY="gpu") == "http://plain:1"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://api.localhost",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://0.0.0.0:8000",
        "https://[::1]:8000",
    ],
)
def test_loopback_addresses_are_reached_directly(url: str) -> None:
    assert chosen(url, **ALL) is None


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "http://gpu.example", True),
        ("gpu.example", "http://gpu.example", True),
        ("GPU.Example", "http://gpu.example", True),
        ("example", "http://gpu.example", True),
        (".example", "http://gpu.example", True),
        ("*.example", "http://gpu.example", True),
        ("gpu.example", "http://my-gpu.example", False),
        ("other, gpu.example", "http://gpu.example", True),
        ("other gpu.example", "http://gpu.example", True),
        ("gpu.example:8000", "http://gpu.example:8000", True),
        ("gpu.example:8000", "http://gpu.example", False),
        ("gpu.example:443", "https://gpu.example", True),
        ("10.1.2.3", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("192.168.0.0/16", "http://10.1.2.3:8000", False),
        ("fd00::/8", "http://[fd00::1]:8000", True),
        ("[fd00::1]:8000", "http://[fd00::1]:8000", True),
        ("fd00::1", "http://[fd00::1]:8000", True),
        ("", "http://gpu.example", False),
        ("///,::,[", "http://gpu.example", False),
    ],
)
def test_no_proxy_names_servers_domains_and_networks(entry: str, url: str, direct: bool) -> None:
    assert (chosen(url, **ALL, NO_PROXY=entry) is None) is direct


@pytest.mark.parametrize(
    "url", ["ftp://s3cret:1", "http://", "http://proxy:s3cret", "http://[x", "s3cret\x01"]
)
def test_a_variable_that_names_no_proxy_is_told_without_its_value(url: str) -> None:
    with pytest.raises(
        EngineError, match="HTTP_PROXY does not name a proxy that can be used: w"
    ) as e:
        chosen("http://gpu", HTTP_PROXY=url)
    assert "s3cret" not in str(e.value)


def test_a_socks_proxy_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamr.engines.http.proxies.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="the proxy socks5://proxy:1 of ALL_PROXY needs the pack"):
        chosen("http://gpu", ALL_PROXY="socks5://me:s3cret@proxy:1")


def test_a_password_is_not_in_the_text_of_a_proxy() -> None:
    proxy = proxy_for(parse_address("http://gpu"), {"http_proxy": "me:s3cret@proxy:1"})
    assert str(proxy) == "the proxy http://proxy:1 of http_proxy"
    assert "s3cret" not in repr(proxy)
