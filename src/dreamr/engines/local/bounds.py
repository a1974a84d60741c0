"""Bounds on code from a model's folder: chat templates, which can loop or grow without an end.

A template runs in the main thread of a worker process. Python code is interrupted by a timer. A
loop inside the interpreter, such as a search in a long text, is not interruptible, so a second
timer ends the process. Memory is bounded by the operating system.
"""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from dreamr.errors import EngineError

SECONDS = 5.0  # of processor time, so that a busy machine does not matter
FATAL = signal.SIGVTALRM  # ends a process whose template cannot be interrupted
_FATAL_SECONDS = 15.0
_AGAIN = 0.5  # seconds until a swallowed interrupt is repeated
_HEADROOM = 512 * 2**20  # bytes of additional memory
_ADVICE = "correct the chat template in the model's folder, or use another model"


class OverBound(EngineError):
    """The code needed more time or memory than it may."""


class _Interrupt(BaseException):
    """Raised inside the code; not an `Exception`, which templates and libraries catch."""


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Bound the processor time and the memory of a block.

    Signals need the main thread. In others, and on systems without these limits, nothing is
    bounded; workers run templates in their main thread only.

    Args:
        what: What the block runs, for messages.

    Raises:
        OverBound: If the block needs too much time or memory.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        with _memory_limit(), _timers():
            yield
    except _Interrupt:
        raise OverBound(
            f"{what} did not end within {SECONDS:g} s of processor time: {_ADVICE}"
        ) from None
    except (MemoryError, OverflowError):
        raise OverBound(f"{what} needs too much memory: {_ADVICE}") from None


@contextmanager
def _timers() -> Iterator[None]:
    armed = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed:
            raise _Interrupt

    handlers = {
        signal.SIGPROF: signal.signal(signal.SIGPROF, interrupt),
        FATAL: signal.signal(FATAL, signal.SIG_DFL),
    }
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, _FATAL_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, SECONDS, _AGAIN)
        yield
    finally:
        armed = False
        for timer in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
            signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Limit the address space of the process to what it has now and the headroom."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + _HEADROOM
    known = [limit for limit in before if limit != resource.RLIM_INFINITY]
    with suppress(ValueError, OSError):  # refused by the system
        resource.setrlimit(resource.RLIMIT_AS, (min([most, *known]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
