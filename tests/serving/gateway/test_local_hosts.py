from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.address import names_loopback
from support.gateways import use


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8500", "127.1.2.3:80", "localhost", "LOCALHOST:1", "localhost.",
        "app.localhost:8500", "[::1]", "[::1]:8500", "[::ffff:127.0.0.1]",
    ],
)  # fmt: skip
def test_names_of_this_machine_are_accepted(host: str) -> None:
    if host != "::1":
        assert names_loopback(host)
    assert use(lambda gate: gate.get("/health", host=host)).status == (
        400 if host == "::1" else 200
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evillocalhost",
        "10.0.0.1", "0.0.0.0", "[::2]", "[fe80::1]", "", "127.0.0.1@evil.example", "2130706433",
        "127.0.0.1:x", "[::1", "localhost:80:80", "127.0.0.1 evil.example",
    ],
)  # fmt: skip
def test_other_names_are_refused_in_the_form_of_the_api(host: str) -> None:
    assert not names_loopback(host)
    found = use(lambda gate: gate.get("/health", host=host))
    assert found.status == 400
    assert found.json["error"]["code"] == "host_not_allowed"


def test_any_host_is_accepted_on_other_addresses() -> None:
    found = use(lambda gate: gate.get("/health", host="gateway.example"), host="0.0.0.0")
    assert found.status == 200


@given(st.text(max_size=20))
def test_any_text_is_judged(host: str) -> None:
    assert names_loopback(host) in (True, False)
