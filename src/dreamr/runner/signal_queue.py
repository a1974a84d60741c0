"""A queue between two tasks of one event loop."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class SignalQueue(Generic[T]):
    """An unbounded queue with one reader.

    It yields to the event loop only when it is empty. An anyio memory stream yields at every
    message, which costs more than handling most messages.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        self._filled: anyio.Event | None = None

    def put(self, message: T) -> None:
        """Append a message."""
        self._messages.append(message)
        if self._filled is not None:
            self._filled.set()
            self._filled = None

    async def get(self) -> T:
        """Return the next message; wait if there is none."""
        while not self._messages:
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._messages.popleft()
