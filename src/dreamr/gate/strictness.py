"""The one number of a gate that decides how much it lets pass."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

from dreamr.gate.verdict import Gate


def strictness(gate: Gate) -> float | None:
    """From 0 to 1: how sure the draft must be where its word counts, else the threshold.

    None: the gate has no such number.
    """
    name = _name(gate)
    value: float | None = None if name is None else getattr(gate, name)
    return value


def at_strictness(gate: Gate, value: float) -> Gate:
    """The same gate, as strict as that; one without such a number as it is."""
    name = _name(gate)
    stricter: Gate = gate if name is None else replace(cast("Any", gate), **{name: value})
    return stricter


def _name(gate: Gate) -> str | None:
    if getattr(gate, "draft_confidence", None) is not None:
        return "draft_confidence"
    known = {field.name for field in fields(cast("Any", gate))}
    return "threshold" if "threshold" in known else None
