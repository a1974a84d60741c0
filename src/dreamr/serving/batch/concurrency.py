"""How many requests run at the same time: more as long as more are answered per second."""

from __future__ import annotations

import math

_GROWTH = 1.5
_GAIN = 1.08  # of the rate, from which a step up is kept
_ROUNDS = 2  # answers of each place in a measurement
_LEAST = 6  # answers in a measurement
_HOLD = 4  # measurements without a further try after one that gained nothing


class Concurrency:
    """Follows the rate of answers; decides without a clock of its own.

    The number grows while the rate does, returns to what it was where that gained nothing, and is
    tried again later. A refusal halves it.

    Args:
        most: Largest number.
        first: Number at the beginning.

    Attributes:
        limit: Requests that may run now.
    """

    def __init__(self, most: int, first: int = 4) -> None:
        self.limit = min(first, most)
        self._most = most
        self._before: tuple[int, float] | None = None  # number and rate before the last step up
        self._count, self._since = 0, None  # type: int, float | None
        self._hold = 0

    def answered(self, now: float) -> None:
        """Count an answer while other requests wait.

        Args:
            now: Time in seconds.
        """
        if self._since is None:
            self._since = now
            return
        self._count += 1
        if self._count < max(_LEAST, _ROUNDS * self.limit) or now <= self._since:
            return
        self._decide(self._count / (now - self._since))
        self._count, self._since = 0, now

    def refused(self) -> None:
        """Halve the number after an engine had no room."""
        self.limit = max(1, self.limit // 2)
        self._before, self._hold = None, _HOLD
        self._count, self._since = 0, None

    def _decide(self, rate: float) -> None:
        if self._before is not None and rate < self._before[1] * _GAIN:
            self.limit, self._before, self._hold = self._before[0], None, _HOLD
            return
        if self._hold:
            self._hold -= 1
            return
        if self.limit < self._most:
            self._before = self.limit, rate
            self.limit = min(self._most, math.ceil(self.limit * _GROWTH))
        else:
            self._before = None
