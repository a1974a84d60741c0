"""Read and change the number that decides how much a gate accepts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

from dreamr.gate.verdict import Gate


def strictness(gate: Gate) -> float | None:
    """Return how strict a gate is, in [0, 1].

    The draft confidence if the gate uses one, otherwise the threshold; None if it has neither.
    """
    name = _name(gate)
    value: float | None = None if name is None else getattr(gate, name)
    return value


def at_strictness(gate: Gate, value: float) -> Gate:
    """Return a copy of the gate that is this strict; the gate itself if it has no such number."""
    name = _name(gate)
    stricter: Gate = gate if name is None else replace(cast("Any", gate), **{name: value})
    return stricter


def _name(gate: Gate) -> str | None:
    if getattr(gate, "draft_confidence", None) is not None:
        return "draft_confidence"
    known = {field.name for field in fields(cast("Any", gate))}
    return "threshold" if "threshold" in known else None


def has_threshold(kind: type[Any]) -> bool:
    """Check whether gates of a class have a number that decides how much they accept."""
    return any(item.name in ("threshold", "draft_confidence") for item in fields(kind))
