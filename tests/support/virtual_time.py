"""An event loop in virtual time: waiting takes no time, and clocks of the loop jump ahead."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Does not wait for a timeout, but moves the clock ahead by it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing is left to wait for"
        self.now += max(0.0, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_virtual(main: Callable[[], Awaitable[T]]) -> T:
    """Run a function in virtual time; it must not use threads or sockets."""
    return anyio.run(main, backend_options={"loop_factory": _Loop})
