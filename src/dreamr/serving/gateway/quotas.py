"""Limits of single clients: requests at once, requests and tokens per minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dreamr._option_specs import BadOption
from dreamr.serving.gateway.errors import ApiError

_MINUTE = 60.0
_MOST = 10**12  # largest value of a limit
_RETRY_RUNNING = 1  # seconds after which a client with too many requests may try again


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one client; None where there is none.

    Attributes:
        running: Requests at the same time, waiting ones included.
        requests: Requests per minute.
        tokens: Tokens per minute: of prompts and of committed steps.
    """

    running: int | None = None
    requests: int | None = None
    tokens: int | None = None


NO_LIMITS = Limits()


def read_limit(text: str, place: str) -> int:
    """Return the value of a limit.

    Args:
        text: The number, as given.
        place: Where it was given, for messages.

    Raises:
        BadOption: If it is not an integer of at least 1.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    if not 1 <= number <= _MOST:
        raise BadOption(f"{place} must be an integer of at least 1")
    return number


@dataclass(slots=True)
class _Bucket:
    """Tokens of a token bucket that holds the amount of one minute.

    The level can be negative: the tokens of an answer are known only when it is written.
    """

    size: int
    level: float
    filled: float

    def resize(self, size: int) -> None:
        """Change the amount per minute; what was used stays used."""
        self.level += size - self.size
        self.size = size

    def fill(self, now: float) -> None:
        """Add what has come in since the last call."""
        rate = self.size / _MINUTE
        self.level = min(float(self.size), self.level + (now - self.filled) * rate)
        self.filled = now

    def seconds(self, level: float) -> float:
        """Return the seconds until the bucket has at least this level."""
        return max(0.0, (level - self.level) * _MINUTE / self.size)


@dataclass(eq=False, slots=True)
class _State:
    """What a client uses at present."""

    running: int = 0
    buckets: dict[str, _Bucket] = field(default_factory=dict)


class Quota:
    """The limits of one client during one of its requests."""

    def __init__(self, limits: Limits, state: _State, clock: Callable[[], float]) -> None:
        self._limits, self._state, self._clock = limits, state, clock

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of the request count."""
        return self._limits.tokens is not None

    def spend(self, tokens: int) -> None:
        """Count tokens of a prompt or of a committed step."""
        if (bucket := self._state.buckets.get("tokens")) is not None:
            bucket.fill(self._clock())
            bucket.level -= tokens

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that tell the client its limits and what is left, with OpenAI's names."""
        found: dict[str, str] = {}
        for name, bucket in self._state.buckets.items():
            bucket.fill(self._clock())
            found |= {
                f"x-ratelimit-limit-{name}": str(bucket.size),
                f"x-ratelimit-remaining-{name}": str(max(0, math.floor(bucket.level))),
                f"x-ratelimit-reset-{name}": _duration(bucket.seconds(bucket.size)),
            }
        return found


class Quotas:
    """Enforces the limits of clients.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}  # of clients with limits, which are named in a file

    @contextmanager
    def request(self, client: str, limits: Limits) -> Iterator[Quota]:
        """Count a request of a client for the duration of the block.

        Args:
            client: Name of the client.
            limits: Its limits; they may differ from those of earlier requests.

        Raises:
            ApiError: If a limit is reached (429).
        """
        if limits == NO_LIMITS:
            self._states.pop(client, None)
            yield Quota(limits, _State(), self._clock)
            return
        state = self._states.setdefault(client, _State())
        quota = Quota(limits, state, self._clock)
        self._update(state, limits)
        self._check(limits, quota, state)
        state.running += 1
        try:
            yield quota
        finally:
            state.running -= 1

    def _update(self, state: _State, limits: Limits) -> None:
        now = self._clock()
        for name, size in (("requests", limits.requests), ("tokens", limits.tokens)):
            if size is None:
                state.buckets.pop(name, None)
            elif (bucket := state.buckets.get(name)) is None:
                state.buckets[name] = _Bucket(size, float(size), now)
            else:
                bucket.fill(now)
                bucket.resize(size)

    def _check(self, limits: Limits, quota: Quota, state: _State) -> None:
        if limits.running is not None and state.running >= limits.running:
            running = f"{limits.running} requests at the same time"
            raise _limited(running, _RETRY_RUNNING, quota)
        tokens, requests = state.buckets.get("tokens"), state.buckets.get("requests")
        if tokens is not None and tokens.level < 1:
            raise _limited(f"{tokens.size:,} tokens per minute", tokens.seconds(1), quota)
        if requests is not None:
            if requests.level < 1:
                seconds = requests.seconds(1)
                raise _limited(f"{requests.size:,} requests per minute", seconds, quota)
            requests.level -= 1


def _limited(limit: str, seconds: float, quota: Quota) -> ApiError:
    wait = max(1, math.ceil(seconds))
    return ApiError(
        429,
        f"this API key allows {limit}: retry in {wait} s",
        "rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(wait), **quota.headers},
    )


def _duration(seconds: float) -> str:
    """Format seconds as OpenAI does, such as 8.64s or 6m0s."""
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.5g}s"
