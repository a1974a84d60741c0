"""Methods by family: names, and the order in which people meet them."""

from __future__ import annotations

import re

BASE = "target"  # the method that the others are compared with
FLOOR = "draft"  # the draft alone: fast, and as good as a draft is
# A method's name begins with that of its family.
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
    """The longest name of a family that this method's name begins with, else the name itself."""
    return max((name for name in FAMILIES if method.startswith(name)), key=len, default=method)


def rank(method: str) -> tuple[int, list[tuple[int, str]]]:
    """What sorts methods for people: families first, and w4 before w16."""
    known = family(method)
    place = FAMILIES.index(known) if known in FAMILIES else len(FAMILIES)
    parts = re.findall(r"\d+|\D+", method)
    return place, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
