from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http.retries import (
    LONGEST_RETRY_AFTER,
    RetryPolicy,
    TransientError,
    retry_after,
)
from dreamr.errors import EngineError, EngineLost

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def waits(monkeypatch: pytest.MonkeyPatch, *asked: float | None) -> list[float]:
    """The pauses before retries of errors that ask for these."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    async def main() -> None:
        policy = RetryPolicy(len(asked))
        for seconds in asked:
            await policy.wait(TransientError(EngineError("no"), seconds))

    monkeypatch.setattr("anyio.sleep", sleep)
    anyio.run(main)
    return found


def test_pauses_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waits(monkeypatch, *[None] * 10)
    longest = [min(10.0, 0.25 * 2**place) for place in range(10)]
    assert all(most / 2 <= one <= most for one, most in zip(found, longest, strict=True))


def test_a_server_gets_at_least_the_pause_that_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for asked in (0.0, 3.0, 30.0, LONGEST_RETRY_AFTER):
        (found,) = waits(monkeypatch, asked)
        assert asked <= found <= max(asked, 0.25) + 0.125


def test_a_server_that_asks_for_a_longer_pause_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        await RetryPolicy(3).wait(TransientError(EngineLost("it is busy"), 3600.0))

    monkeypatch.setattr("anyio.sleep", None)
    with pytest.raises(EngineLost, match="it is busy; the server asks to wait 3600 s: try again"):
        anyio.run(main)


def test_without_retries_left_the_error_is_raised() -> None:
    async def main() -> None:
        await RetryPolicy(0).wait(TransientError(EngineError("it is busy"), 1.0))

    with pytest.raises(EngineError, match=r"^it is busy$"):
        anyio.run(main)


def date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "15"}, 15.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": date(20), "date": date(0)}, 20.0),
        ({"retry-after": date(-20), "date": date(0)}, 0.0),
        ({"retry-after": "Tue, 01 Jan 2030 12:00:09", "date": date(0)}, 9.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    ],
)
def test_the_pause_is_read_as_seconds_or_a_date(headers: Any, seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_without_the_servers_clock_is_compared_with_ours() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    found = retry_after({"retry-after": until})
    assert found is not None
    assert 90 < found <= 100


@given(st.text(), st.text())
def test_any_header_is_seconds_or_nothing(text: str, clock: str) -> None:
    found = retry_after({"retry-after": text, "date": clock})
    assert found is None or 0 <= found < float("inf")
