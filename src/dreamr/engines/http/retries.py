"""Retries of requests that failed for reasons that may go away."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anyio

from dreamr.errors import EngineError

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0  # seconds between two attempts, if the server names none
LONGEST_RETRY_AFTER = 60.0  # seconds; a server that asks for more is given up
_RANDOM = random.Random()  # the user's random state stays as it is


class TransientError(Exception):
    """Failure that may go away if the request is sent again.

    Attributes:
        final: Error to raise when no retries are left.
        wait: Seconds to wait before the next attempt, as the server asks; None if it does not.
        busy: Whether the server refuses requests for now, which says nothing about what it can do.
    """

    def __init__(
        self, final: EngineError, wait: float | None = None, *, busy: bool = False
    ) -> None:
        super().__init__(str(final))
        self.final, self.wait, self.busy = final, wait, busy


def is_transient(error: BaseException) -> bool:
    """Return whether an error ended the retries of a request that may succeed later."""
    return isinstance(error.__cause__, TransientError)


def is_busy(error: BaseException) -> bool:
    """Return whether an error is that of a server that went on refusing requests for now."""
    return isinstance(error.__cause__, TransientError) and error.__cause__.busy


class RetryPolicy:
    """Number of retries that are left, and the growing pause between them.

    A server that asks for a pause gets it, up to `LONGEST_RETRY_AFTER`.
    """

    def __init__(self, most: int) -> None:
        self._left, self._pause = most, _FIRST_WAIT

    async def wait(self, error: TransientError) -> None:
        """Wait before the next attempt.

        Raises:
            EngineError: If no retries are left, or the server asks for too long a pause.
        """
        if self._left <= 0:
            raise error.final from error
        if error.wait is not None and error.wait > LONGEST_RETRY_AFTER:
            final = f"{error.final}; the server asks to wait {error.wait:.0f} s: try again then"
            raise type(error.final)(final) from error
        self._left -= 1
        await anyio.sleep(self._next_pause(error.wait))

    def _next_pause(self, asked: float | None) -> float:
        """Return the seconds to wait: at least as long as the server asks.

        Clients that were refused at the same time come back at different times.
        """
        pause, self._pause = self._pause, min(_LONGEST_WAIT, 2 * self._pause)
        if asked is None:
            return pause * _RANDOM.uniform(0.5, 1.0)
        return max(asked, pause) + pause * _RANDOM.uniform(0.0, 0.5)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a response asks to wait; None if it does not.

    Retry-After holds seconds or a date, which is compared with the server's own clock if it sends
    one. `retry-after-ms` is OpenAI's.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = _date(text)
    if until is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
