from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.pages import CHROMIUM, CHROMIUM_ARGS
from support.pairs import Pair


@pytest.fixture
def pair() -> Pair:
    """A model factory with nothing special about it."""
    return Pair()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
