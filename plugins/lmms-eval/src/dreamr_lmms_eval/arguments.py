"""Conversion of lmms-eval's model arguments to run options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dreamr import BadOption, RunOptions

OWN = ("concurrency", "on_error", "returns", "system_prompt")


def options_of(arguments: Mapping[str, Any]) -> RunOptions:
    """Convert model arguments to run options; each field of `RunOptions` is an argument.

    Load control is off unless asked for: it would mix runs of the method with runs of the target.

    Raises:
        BadOption: If a name is unknown (the message lists the known ones) or a value is out of
            bounds.
    """
    hints = get_type_hints(RunOptions)
    kinds = {field.name: _kind(hints[field.name]) for field in fields(RunOptions)}
    for name in arguments:
        if name not in kinds:
            known = ", ".join(sorted((*kinds, *OWN)))
            raise BadOption(f"unknown model argument {name!r}; known: {known}")
    given = {name: _typed(name, arguments[name], kinds[name]) for name in arguments}
    return RunOptions(**{"load_aware": False, **given})


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


def _kind(hint: Any) -> type:
    """Return the type of a field's values: of an optional one, that of the values other than None.

    Literals are text, and of a list only the type of the list counts.
    """
    if get_origin(hint) in (Union, UnionType):
        hint = next(one for one in get_args(hint) if one is not NoneType)
    kind = get_origin(hint) or hint
    return str if kind is Literal else kind


def _typed(name: str, value: Any, kind: type) -> Any:
    """Convert a value to the type of its field.

    lmms-eval parses 1e3 as a float and a folder named 7 as an integer, and splits lists.
    """
    if value is None or kind is str:
        return value if value is None else str(value)
    if kind is tuple:
        return value if isinstance(value, tuple | list | Mapping) else (str(value),)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind in (bool, int) and whole:
        return kind(value)
    if kind is float and not isinstance(value, str):
        return float(value)
    words = {bool: "True or False", int: "a whole number", float: "a number"}[kind]
    raise BadOption(f"model argument {name} must be {words}, not {value!r}")
