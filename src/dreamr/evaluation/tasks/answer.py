"""Extraction of the final answer from a completion."""

from __future__ import annotations

MARKER = "Answer:"


def extract_answer(text: str) -> str | None:
    """Return the rest of the line after the last `MARKER`, or None without a marker."""
    _, marker, rest = text.rpartition(MARKER)
    return rest.strip().split("\n")[0] if marker else None
