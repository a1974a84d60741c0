"""Mathematical values: enough LaTeX to compare numbers, lists, intervals and relations.

What these rules leave open is compared as a formula by math-verify, if it is installed
(`dreamr.evaluation.tasks.public.formulas`).

Published protocols judge such answers with a language model, which also accepts paraphrases. Forms
that they read differently: a bare number counts for one with a unit, and the other way around; a
proper fraction after a whole number is a mixed number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.evaluation.tasks.public import formulas
from dreamr.evaluation.tasks.public.answers import folded
from dreamr.evaluation.tasks.public.notation import half_width, latex, plain
from dreamr.evaluation.tasks.public.numbers import MAX_LENGTH, after_equals, quantity_in

_DEPTH = 3  # most lists inside one another
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:([ap])\.?\s?m\b\.?)?", re.IGNORECASE)
_OPENING, _CLOSING = "([{", ")]}"
_SEPARATOR = re.compile(r"[,;]|\s+(?:or|and)\s+|[或和∪]")  # noqa: RUF001
_RELATION = re.compile(r"<=|>=|!=|<|>|=")
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_NAME = re.compile(r"\s*([a-zA-Z])\s*=")
_ELEMENT = re.compile(r"^\s*[a-zA-Z]\s*∈\s*")
_CONCLUSION = re.compile(
    r".*(?:\b(?:so|therefore)\b|[∴⇒]|\\(?:rightarrow|implies|therefore))",
    re.DOTALL | re.IGNORECASE,
)


def same_value(given: str, wanted: str) -> bool:
    """Check whether two texts have the same value.

    Numbers may be decimals, fractions, mixed numbers, roots, powers and multiples of pi, in plain
    text or in LaTeX, optionally after a name and "=" and with a common unit. They must agree to a
    relative `TOLERANCE`, whole numbers exactly. Tuples and intervals are compared in order, sets
    and lists in any order. Other texts must be equal except for whitespace, case and notation.
    """
    if max(len(given), len(wanted)) > MAX_LENGTH:
        return _squeezed(given) == _squeezed(wanted)
    left, right = plain(given), plain(wanted)
    if any(_same(a, b, _DEPTH) for a in _sides(left) for b in _sides(right)):
        return True
    return _undecided(left, right) and formulas.equal(latex(given), latex(wanted))


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", folded(half_width(text)))


def _sides(text: str) -> Sequence[str]:
    """Return what a text gives: the value after "so", or each side of an approximation."""
    text = _CONCLUSION.sub("", text).lstrip(" ,:")
    return [side for side in text.split("≈") if side.strip()] or [text]


def _undecided(left: str, right: str) -> bool:
    """Check whether the comparison is left to `formulas`: not both are numbers or lists."""
    return not all(
        quantity_in(text) or _clock(text) or _listed(text).kind for text in (left, right)
    )


def _same(left: str, right: str, depth: int) -> bool:
    """Compare two texts in Python's notation."""
    if _squeezed(left) == _squeezed(right):
        return True
    if len({name for name in map(_name, (left, right)) if name}) > 1:
        return False
    if (first := quantity_in(left)) and (second := quantity_in(right)):
        return first.same(second)
    if (ours := _clock(left)) and (others := _clock(right)):
        return ours == others
    if depth and _same_lists(_listed(left), _listed(right), depth):
        return True
    return _same_relations(left, right, depth) or (
        _squeezed(after_equals(left)) == _squeezed(after_equals(right)) != ""
    )


def _clock(text: str) -> tuple[int, ...] | None:
    """Return a time of day in seconds since midnight, or None."""
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if half := (found[4] or "").lower():
        hours = hours % 12 + (12 if half == "p" else 0)
    return (hours, minutes, seconds)


@dataclass(frozen=True, slots=True)
class _List:
    """Parts of a text.

    Attributes:
        kind: Brackets of a tuple or an interval, "{}" for a set, "," for a list without brackets,
            "U" for a union, "" for a text that is none of these.
        parts: The parts.
    """

    kind: str
    parts: Sequence[str]


def _listed(text: str) -> _List:
    text = _ELEMENT.sub("", text.strip()).replace("\\{", "{").replace("\\}", "}")
    if text.count("±") == 1:
        return _List(",", [text.replace("±", "+").lstrip("+"), text.replace("±", "-")])
    parts, separators = _parts(text)
    if len(parts) > 1:
        return _List("U" if "∪" in separators else ",", parts)  # noqa: RUF001
    if text[:1] in tuple(_OPENING) and text[-1:] in tuple(_CLOSING):
        parts, _ = _parts(text[1:-1])
        if len(parts) > 1 or text[0] == "{":
            return _List(text[0] + text[-1], parts)
    return _List("", [text])


def _parts(text: str) -> tuple[list[str], set[str]]:
    """Split a text at the separators outside brackets; return the parts and the separators."""
    depth, start, parts, separators = 0, 0, [], set()
    places = {found.start(): found for found in _SEPARATOR.finditer(text)}
    for place, sign in enumerate(text):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 0 and place in places and place >= start:
            parts.append(text[start:place])
            separators.add(places[place][0].strip())
            start = places[place].end()
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()], separators


def _same_lists(left: _List, right: _List, depth: int) -> bool:
    if not left.kind or not right.kind or len(left.parts) != len(right.parts):
        return False
    if left.kind != right.kind and not {left.kind, right.kind} <= {"{}", ","}:
        return False
    if left.kind not in ("{}", ",", "U"):
        return all(_same(a, b, depth - 1) for a, b in zip(left.parts, right.parts, strict=True))
    remaining = list(right.parts)
    for part in left.parts:
        found = next((other for other in remaining if _same(part, other, depth - 1)), None)
        if found is None:
            return False
        remaining.remove(found)
    return True


def _name(text: str) -> str:
    """Return the letter that a text gives a value to, such as x in "x = 2"; empty if none."""
    found = _NAME.match(text)
    return found[1].lower() if found and _RELATION.findall(text) == ["="] else ""


def _same_relations(left: str, right: str, depth: int) -> bool:
    """Compare relations such as "x <= 3" and "3 >= x", or "1 < x < 2"."""
    ours, others = _RELATION.findall(left), _RELATION.findall(right)
    if not ours or len(ours) != len(others) or depth == 0:
        return False
    sides, other_sides = _RELATION.split(left), _RELATION.split(right)
    flipped = [_FLIPPED[relation] for relation in reversed(others)]
    return any(
        ours == relations and all(_same(a, b, 0) for a, b in zip(sides, ends, strict=True))
        for relations, ends in ((others, other_sides), (flipped, other_sides[::-1]))
    )
