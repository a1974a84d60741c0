"""Fixtures of the tests of the HTTP engine."""

from __future__ import annotations

import anyio
import pytest

from support.reached import PROXIES


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies and no certificate authorities from the environment."""
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting before a request is repeated takes no time, but lets other tasks run."""

    async def sleep(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("anyio.sleep", sleep)
