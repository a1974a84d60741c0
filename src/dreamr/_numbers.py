"""Numbers as text."""

from __future__ import annotations


def three_digits(value: float) -> str:
    """Return a number with three digits, or all digits before the point if it has more."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
