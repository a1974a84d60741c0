"""Virtual time: an event queue."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Clock:
    """A virtual clock that runs scheduled actions in the order of their times.

    Actions for the same time run in the order in which they were scheduled.

    Attributes:
        now: Current virtual time, in seconds since the start.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = 0

    def after(self, seconds: float, action: Action) -> None:
        """Schedule an action.

        Args:
            seconds: Delay from now, in seconds of virtual time.
            action: Called when the time has come.
        """
        self._order += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._order, action))

    def run(self) -> None:
        """Run until no action is left."""
        while self._agenda:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
