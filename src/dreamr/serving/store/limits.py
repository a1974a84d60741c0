"""Limits of one client."""

from __future__ import annotations

from dataclasses import dataclass


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
