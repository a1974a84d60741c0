"""Options that are declared once: what each field of a dataclass of options means to people.

Flags, their help and their environment variables are made from it, and so are the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from dreamr.errors import DreamrError


class BadOption(DreamrError):
    """An option has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """What a field means to people, and the bounds of its value, both included.

    group: the heading under which the help shows it. shown: the default in words where the value
    itself says little. flags: how it is written on the command line, where that is not the field's
    name; the first is the one that messages use. positional: whether it is written without a flag.
    """

    help: str
    group: str
    minimum: float | None = None
    maximum: float | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    positional: bool = False

    def flags_of(self, name: str) -> tuple[str, ...]:
        """The flags of a field of this name."""
        return self.flags or (f"--{name.replace('_', '-')}",)


@cache
def option_specs(options: Callable[..., Any]) -> dict[str, tuple[Any, OptionSpec]]:
    """For each field of a dataclass of options its type and its spec, in order."""
    hints = get_type_hints(options, include_extras=True)
    return {item.name: get_args(hints[item.name]) for item in fields(cast("Any", options))}


def check_options(options: object) -> None:
    """See that every field is within its bounds, and is one of its words.

    Raises:
        BadOption: the message names the flag.
    """
    declared: Any = type(options)
    for name, (kind, spec) in option_specs(declared).items():
        _check(spec.flags_of(name)[0], getattr(options, name), kind, spec)


def _check(flag: str, value: Any, kind: Any, spec: OptionSpec) -> None:
    if get_origin(kind) is Literal and value not in get_args(kind):
        known = ", ".join(get_args(kind))
        raise BadOption(f"{flag} must be one of {known}, not {value!r}")
    if value is None:
        return
    # Written so that a NaN is out of bounds.
    if spec.minimum is not None and not value >= spec.minimum:
        raise BadOption(f"{flag} must be at least {spec.minimum:g}, not {_plain(value)}")
    if spec.maximum is not None and not value <= spec.maximum:
        raise BadOption(f"{flag} must be at most {spec.maximum:g}, not {_plain(value)}")


def _plain(value: Any) -> str:
    """A number as people write it: 2, not 2.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(text: str | None) -> tuple[str, ...]:
    """The items of a list with commas."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())
