"""Ctrl-C, SIGTERM and SIGHUP: the first ends the command in order, a second one at once.

A signal that is ignored when the process starts, as SIGHUP under nohup, stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # this module is loaded before anything that takes time
    import asyncio

Found = TypeVar("Found")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


class _Received:
    """The signals of this process so far, and how the first one ends the command."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.is_started = False
        self.is_deferred = False
        self.cancel: Callable[[], object] | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread."""
        # During imports nothing is open yet, and an exception could come out of any of them.
        if self.first is not None or not self.is_started:
            _end(number)
        self.first = number
        if self.cancel is not None:
            self.cancel()
        elif not self.is_deferred:
            raise KeyboardInterrupt


_received = _Received()


def install() -> None:
    """Handle the signals of this process; until `started`, each ends it at once."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _received.handle)


def started() -> None:
    """From now on, the first signal ends the command in order."""
    _received.is_started = True


def exit_status() -> int | None:
    """Return the exit status for the signal that ended the command, None if there was none."""
    return None if _received.first is None else 128 + _received.first


@contextmanager
def deferred() -> Iterator[None]:
    """Let a block, such as the writing of a file, end before the first signal takes effect.

    Raises:
        KeyboardInterrupt: After the block, if a signal came meanwhile.
    """
    before, _received.is_deferred = _received.first, True
    try:
        yield
    finally:
        _received.is_deferred = False
    if before is None and _received.first is not None:
        raise KeyboardInterrupt


def run(work: Callable[..., Awaitable[Found]], *given: Any) -> Found:
    """Run an async function on an event loop; the first signal cancels it.

    Raises:
        KeyboardInterrupt: If a signal canceled it.
    """
    import asyncio

    import anyio

    async def cancelable() -> Found:
        task = asyncio.current_task()
        assert task is not None
        with _waking(asyncio.get_running_loop()):
            _received.cancel = task.cancel
            try:
                return await work(*given)
            finally:
                _received.cancel = None

    try:
        return anyio.run(cancelable)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def _waking(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Wake the loop at each signal.

    If a signal comes just before the loop waits, Python runs its handler only when the loop wakes,
    and nothing else may wake it.
    """
    import socket

    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        loop.add_reader(reading, reading.recv, 4096)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reading)


def _end(number: int) -> None:
    """End the process at once, without temporary files or a hidden cursor left over."""
    output_files = sys.modules.get("dreamr._output_files")
    if output_files is not None:
        output_files.discard_parts()
    try:
        os.write(2, (_SHOW_CURSOR + b"\r\n" if os.isatty(2) else b"") + b"dreamr: interrupted\n")
    finally:
        os._exit(128 + number)
