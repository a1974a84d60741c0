"""Virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Clock:
    """Does what was put down for later, in the order of its time; of the same time, as put down.

    now: seconds since the start.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = 0

    def after(self, seconds: float, action: Action) -> None:
        """Do this so many seconds from now."""
        self._order += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._order, action))

    def run(self) -> None:
        """Go on until nothing is put down any more."""
        while self._agenda:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
