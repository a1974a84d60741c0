"""Fixtures of the tests of the APIs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.listening import listening


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """OpenAI's client of a gateway with scripted models."""
    openai = pytest.importorskip("openai")
    with (
        listening() as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as found,
    ):
        yield found
