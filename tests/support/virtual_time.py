"""An event loop in virtual time: waiting takes no time, and clocks jump ahead by it."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

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


async def _run_at_once(work: Callable[..., T], *arguments: Any, **_: Any) -> T:
    return work(*arguments)


def run_virtual(main: Callable[[], Awaitable[T]]) -> T:
    """Run a function in virtual time, without sockets; what is for a thread runs at once."""
    with pytest.MonkeyPatch.context() as patch:

        def virtual_loop() -> _Loop:
            loop = _Loop()
            patch.setattr(time, "monotonic", loop.time)
            patch.setattr(time, "perf_counter", loop.time)
            return loop

        patch.setattr(anyio.to_thread, "run_sync", _run_at_once)
        return anyio.run(main, backend_options={"loop_factory": virtual_loop})
