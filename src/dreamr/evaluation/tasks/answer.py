"""Extraction of the final answer from a completion."""

from __future__ import annotations

from dreamr.steps import conclusion

MARKER = "Answer:"


def extract_answer(text: str) -> str | None:
    """Return the rest of the line after the last `MARKER` outside thoughts, or None."""
    _, marker, rest = conclusion(text).rpartition(MARKER)
    return rest.strip().split("\n")[0] if marker else None
