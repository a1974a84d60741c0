"""Where a completion gives its final answer."""

from __future__ import annotations

MARKER = "Answer:"


def extract_answer(text: str) -> str | None:
    """The answer that a completion gives: what follows its last marker, None without marker."""
    _, marker, rest = text.rpartition(MARKER)
    return rest.strip().split("\n")[0] if marker else None
