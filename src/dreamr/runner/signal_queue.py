"""What one task leaves for another, without a turn of the event loop for each message."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class SignalQueue(Generic[T]):
    """An unbounded queue with one reader.

    A memory stream gives way to other tasks at each message, which costs more than most of what is
    done with it; this one does where it is empty.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        self._filled: anyio.Event | None = None

    def put(self, message: T) -> None:
        """Leave a message."""
        self._messages.append(message)
        if self._filled is not None:
            self._filled.set()
            self._filled = None

    async def get(self) -> T:
        """The next message; waits for one."""
        while not self._messages:
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._messages.popleft()
