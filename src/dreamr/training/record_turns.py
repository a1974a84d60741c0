"""Turns and tools of recorded conversations as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from types import NoneType
from typing import Any, get_args

from dreamr.conversation import Tool, ToolCall, Turn, TurnRole
from dreamr.training.record_parts import part_from_json, part_to_json
from dreamr.training.record_values import get_one_of, get_value


def turn_to_json(turn: Turn) -> dict[str, Any]:
    """Return a turn as JSON values: its role and parts, and what else it has."""
    values: dict[str, Any] = {"role": turn.role, "parts": list(map(part_to_json, turn.parts))}
    if turn.calls:
        values["calls"] = list(map(asdict, turn.calls))
    if turn.call_id is not None:
        values["call_id"] = turn.call_id
    if turn.reasoning:
        values["reasoning"] = turn.reasoning
    return values


def turn_from_json(values: Any) -> Turn:
    """Return the turn of JSON values.

    Raises:
        ValueError: If they are not those of a turn; the message says why.
    """
    role, parts = get_one_of(values, "role", get_args(TurnRole)), get_value(values, "parts", list)
    call_id, reasoning = values.get("call_id"), values.get("reasoning", "")
    if not isinstance(call_id, str | NoneType) or not isinstance(reasoning, str):
        raise ValueError("a turn whose call_id or reasoning is not text")
    return Turn(
        role,
        tuple(map(part_from_json, parts)),
        tuple(_of_texts(ToolCall, call) for call in _list(values.get("calls", []), "calls")),
        call_id,
        reasoning,
    )


def tools_from_json(values: Any) -> tuple[Tool, ...]:
    """Return the tools of JSON values.

    Raises:
        ValueError: If they are not those of tools; the message says why.
    """
    return tuple(_of_texts(Tool, tool) for tool in _list(values, "tools"))


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name!r} is not a list")
    return values


def _of_texts(kind: type, values: Any) -> Any:
    """Return a tool or call, whose fields are texts, and true or false for `strict`."""
    known = kind.__match_args__  # type: ignore[attr-defined]
    if not isinstance(values, dict) or set(values) != set(known):
        raise ValueError(f"a {kind.__name__} has other fields than {', '.join(known)}")
    for name, value in values.items():
        if not isinstance(value, bool if name == "strict" else str):
            raise ValueError(f"{name!r} of a {kind.__name__} has the wrong type")
    return kind(**values)
