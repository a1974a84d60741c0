from __future__ import annotations

import pytest

from support.pairs import Pair


@pytest.fixture
def pair() -> Pair:
    """A model factory with nothing special about it."""
    return Pair()
