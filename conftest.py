"""How all tests run, wherever they lie."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# How long a case takes says more of the machine than of the code.
# Locally each run draws other examples; those of CI are the same in each run, and more.
settings.register_profile(
    "dreamr",
    deadline=None,
    max_examples=100 if "CI" in os.environ else 50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dreamr")

# A shell that starts the tests in the background makes them ignore it, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise under nohup: the tests go on ignoring it, but what they start does not. Processes of
# pytest-xdist, which are started too, end with the first one.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN or "PYTEST_XDIST_WORKER" in os.environ:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
