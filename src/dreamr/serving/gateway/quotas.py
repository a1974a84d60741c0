"""Limits of single clients: requests at once, requests and tokens per minute."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

from dreamr._option_specs import BadOption
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.store import NO_LIMITS, Entered, Level, Limits
from dreamr.serving.store import Quotas as StoredQuotas
from dreamr.serving.store.memory import MemoryQuotas

_MOST = 10**12  # largest value of a limit
_RETRY_RUNNING = 1  # seconds after which a client with too many requests may try again


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


class Quota:
    """What is left to one client during one of its requests."""

    def __init__(self, quotas: StoredQuotas, client: str, request: str, limits: Limits) -> None:
        self._quotas, self._client, self._request = quotas, client, request
        self._limits = limits

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of the request count."""
        return self._limits.tokens is not None

    def spend(self, tokens: int) -> None:
        """Count tokens of a prompt or of a committed step."""
        if self.counts_tokens:
            self._quotas.spend(self._client, self._request, tokens)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that tell the client its limits and what is left, with OpenAI's names."""
        return {} if self._limits == NO_LIMITS else _headers(self._quotas.levels(self._client))


class Quotas:
    """Enforces the limits of clients.

    Args:
        store: Counts what clients use; in the memory of this process by default.
    """

    def __init__(self, store: StoredQuotas | None = None) -> None:
        self._store = store or MemoryQuotas()

    @asynccontextmanager
    async def request(
        self, client: str, limits: Limits, *, again: bool = False
    ) -> AsyncGenerator[Quota, None]:
        """Count a request of a client for the duration of the block.

        Args:
            client: Name of the client.
            limits: Its limits; they may differ from those of earlier requests.
            again: Whether the request was let in before.

        Raises:
            ApiError: If a limit is reached (429).
        """
        request = uuid4().hex
        entered = await self._store.enter(client, request, limits, again=again)
        if entered.refused is not None:
            raise _limited(entered, limits)
        try:
            yield Quota(self._store, client, request, limits)
        finally:
            if limits != NO_LIMITS:
                await self._store.leave(client, request)


def _limited(entered: Entered, limits: Limits) -> ApiError:
    match entered.refused:
        case "running":
            limit, seconds = f"{limits.running} requests at the same time", float(_RETRY_RUNNING)
        case name:
            assert name is not None
            level = entered.levels[name]
            limit, seconds = f"{level.size:,} {name} per minute", level.seconds(1)
    wait = max(1, math.ceil(seconds))
    return ApiError(
        429,
        f"this API key allows {limit}: retry in {wait} s",
        "rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(wait), **_headers(entered.levels)},
    )


def _headers(levels: Mapping[str, Level]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, level in levels.items():
        found |= {
            f"x-ratelimit-limit-{name}": str(level.size),
            f"x-ratelimit-remaining-{name}": str(max(0, math.floor(level.level))),
            f"x-ratelimit-reset-{name}": _duration(level.seconds(level.size)),
        }
    return found


def _duration(seconds: float) -> str:
    """Format seconds as OpenAI does, such as 8.64s or 6m0s."""
    minutes, rest = divmod(math.ceil(seconds * 1000) / 1000, 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.5g}s"
