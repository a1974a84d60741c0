"""Families of methods and the order in which reports list them."""

from __future__ import annotations

import re

BASE = "target"  # the target alone, the baseline of all comparisons
FLOOR = "draft"  # the draft alone
# The name of a method starts with the name of its family.
FAMILIES = (
    BASE,
    FLOOR,
    "token-sd",
    "prompt-lookup",
    "specreason",
    "lookahead",
    "parse",
    "sequential",
    "fpsr",
)


def family(method: str) -> str:
    """Return the family of a method: the longest name that it starts with, else its own name."""
    return max((name for name in FAMILIES if method.startswith(name)), key=len, default=method)


def rank(method: str) -> tuple[int, list[tuple[int, str]]]:
    """Return a sort key: by family, then with numbers in numeric order (w4 before w16)."""
    known = family(method)
    place = FAMILIES.index(known) if known in FAMILIES else len(FAMILIES)
    parts = re.findall(r"\d+|\D+", method)
    return place, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
