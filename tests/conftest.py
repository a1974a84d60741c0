from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpcore2
import pytest

from support.pages import CHROMIUM, CHROMIUM_ARGS
from support.pairs import Pair


def pytest_collection() -> None:
    gc.disable()  # a quarter of the time of collecting ten thousand tests


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()  # else each full collection during a test looks at all tests and modules


@pytest.fixture(autouse=True, scope="session")
def certificates() -> Iterator[None]:
    """Read the certificates of the system once, and not for each client of other libraries."""
    read = httpcore2.default_ssl_context
    shared = cache(read)

    def context(**more: Any) -> Any:
        return (read if "SSL_CERT_FILE" in os.environ else shared)(**more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", context)
        yield


@pytest.fixture
def pair() -> Pair:
    """A model factory with nothing special about it."""
    return Pair()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium-headless-shell, or chromium")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
