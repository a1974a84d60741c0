"""Retries of requests that failed for reasons that may go away."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from dreamr.errors import EngineError

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0  # seconds between two attempts


class TransientError(Exception):
    """Failure that may go away if the request is sent again.

    Attributes:
        final: Error to raise when no retries are left.
        wait: Seconds to wait before the next attempt, if the server gives them.
    """

    def __init__(self, final: EngineError, wait: float | None = None) -> None:
        super().__init__(str(final))
        self.final, self.wait = final, wait


class RetryPolicy:
    """Number of retries that are left, and the growing wait between them."""

    def __init__(self, most: int) -> None:
        self._left, self._pause = most, _FIRST_WAIT

    async def wait(self, error: TransientError) -> None:
        """Wait before the next attempt.

        Raises:
            EngineError: If no retries are left.
        """
        if self._left <= 0:
            raise error.final from error
        self._left -= 1
        await anyio.sleep(min(_LONGEST_WAIT, error.wait or self._pause))
        self._pause *= 2


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in a Retry-After header; None if it is missing or a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
