"""Conversion of lmms-eval's model arguments to run options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dreamr import BadOption, RunOptions

OWN = ("concurrency", "on_error", "returns", "system_prompt")


def options_of(arguments: Mapping[str, Any]) -> RunOptions:
    """Convert model arguments to run options; each field of `RunOptions` is an argument.

    Raises:
        BadOption: If a name is unknown (the message lists the known ones) or a value is out of
            bounds.
    """
    defaults = {field.name: field.default for field in fields(RunOptions)}
    for name in arguments:
        if name not in defaults:
            known = ", ".join(sorted((*defaults, *OWN)))
            raise BadOption(f"unknown model argument {name!r}; known: {known}")
    return RunOptions(**{name: _typed(name, arguments[name], defaults[name]) for name in arguments})


def one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    """Return the value if it is one of the known ones.

    Raises:
        BadOption: If it is not.
    """
    if value not in known:
        raise BadOption(f"model argument {name} must be one of {', '.join(known)}, not {value!r}")
    return value


def concurrency_of(asked: Any, batch_size: Any) -> int:
    """Return how many questions run concurrently: the argument, else the batch size, else one.

    Raises:
        BadOption: If the value is not a whole number of at least 1.
    """
    value = batch_size if asked is None else asked
    if value is None or value == "auto":
        return 1
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise BadOption(f"concurrency must be a whole number of at least 1, not {value!r}")
    return number


def _typed(name: str, value: Any, default: Any) -> Any:
    """Convert a value to the type of the default.

    lmms-eval parses 1e3 as a float and a folder named 7 as an integer.
    """
    if isinstance(default, str) or default is None:
        return str(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(default, int) and whole:
        return type(default)(value)
    if isinstance(default, float) and not isinstance(value, str):
        return float(value)
    kind = {bool: "True or False", int: "a whole number", float: "a number"}[type(default)]
    raise BadOption(f"model argument {name} must be {kind}, not {value!r}")
