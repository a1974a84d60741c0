from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from support.pairs import Pair

# How long a case takes says more of the machine than of the code.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# A shell that starts the tests in the background makes them ignore it, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def pair() -> Pair:
    """A model factory with nothing special about it."""
    return Pair()
