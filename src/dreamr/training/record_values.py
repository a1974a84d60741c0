"""Values of JSON that a user's file contains, read with checks."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

_MOST_SHOWN = 40  # characters of a value in a message


def get_value(values: Any, key: str, *types: type) -> Any:
    """Return a value of a JSON object after checking that it is there and of one of the types.

    Raises:
        ValueError: If the values are not a JSON object, or it lacks the key or has a value of
            another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{shown(values)} instead of a JSON object")
    if key not in values:
        raise ValueError(f"{key!r} is missing")
    if type(values[key]) not in types:
        raise ValueError(f"{key!r} is {shown(values[key])}, which has the wrong type")
    return values[key]


def get_one_of(values: Any, key: str, known: Collection[str]) -> Any:
    """Return a string of a JSON object after checking that it is one of the known ones.

    Raises:
        ValueError: If it is missing, not a string or not a known one.
    """
    if (value := get_value(values, key, str)) not in known:
        raise ValueError(f"{key!r} is {shown(value)} instead of {' or '.join(known)}")
    return value


def shown(value: Any) -> str:
    """Return a value as JSON, shortened for a message."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
