"""Means that follow their latest values."""

from __future__ import annotations

WEIGHT = 0.15  # of the newest value


def moving_mean(mean: float | None, value: float | None, weight: float = WEIGHT) -> float | None:
    """Return a mean after one more value.

    Args:
        mean: The mean of earlier values, None without any.
        value: The new value, None if nothing was measured.
        weight: Share of the new value, in (0, 1].
    """
    if mean is None or value is None:
        return mean if value is None else value
    return mean + weight * (value - mean)
