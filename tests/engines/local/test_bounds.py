"""Code of a model's folder ends, also where Python cannot interrupt it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from dreamr.engines.local import bounds
from dreamr.engines.local.bounds import FATAL, OverBound, bounded


def test_an_error_of_the_code_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError), bounded("the code"):
        raise KeyError("x")


def test_code_that_swallows_the_interrupt_is_interrupted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.05)
    monkeypatch.setattr(bounds, "_AGAIN", 0.05)

    def swallow(times: int) -> None:
        try:
            while True:
                pass
        except BaseException:
            if not times:
                raise
            swallow(times - 1)

    with pytest.raises(OverBound, match="the code did not end"), bounded("the code"):
        swallow(3)


def test_code_inside_the_interpreter_ends_with_its_process() -> None:
    code = (
        "from dreamr.engines.local import bounds\n"
        "bounds.SECONDS, bounds._FATAL_SECONDS = 0.1, 0.3\n"
        "from itertools import repeat\n"
        "with bounds.bounded('the code'): sum(repeat(1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert done.returncode == -FATAL


def test_nothing_is_bounded_outside_the_main_thread() -> None:
    """Signals would arrive in another thread."""
    before = signal.getsignal(signal.SIGPROF)
    seen = []

    def work() -> None:
        with bounded("the code"):
            seen.append(signal.getsignal(signal.SIGPROF))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
