"""Options that are declared once, as annotated fields of a dataclass.

Command-line flags, their help, environment variables, bounds and the reference page are made from
the declarations. Rules say which combinations of options are refused, and in which combinations an
option has no effect.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from dreamr.errors import DreamrError

Options = TypeVar("Options")

_MOST_SHOWN = 60  # characters of a value in a message


class BadOption(DreamrError):
    """An option has an invalid value, or options contradict each other."""


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """Declaration of one option.

    Attributes:
        help: Help text, at most two lines of 80 columns.
        group: Heading under which the help lists the option.
        minimum: Smallest allowed value.
        maximum: Largest allowed value.
        shown: Description of the default, where the value itself says little.
        flags: Flags on the command line, if they differ from the field's name. Messages use the
            first.
        positional: Whether the value is given without a flag.
        reads: Of a value that names inputs, the pattern of the files that are read if it is a
            folder. None: the value names no input.
        writes: Whether the value names a file to write.
    """

    help: str
    group: str
    minimum: float | None = None
    maximum: float | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    positional: bool = False
    reads: str | None = None
    writes: bool = False

    def flags_of(self, name: str) -> tuple[str, ...]:
        """Return the flags of a field of this name."""
        return self.flags or (f"--{name.replace('_', '-')}",)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A combination of options that contradicts itself and is refused.

    Attributes:
        when: Whether the options conflict, given an object with their values as attributes.
        message: What is wrong and what to do.
    """

    when: Callable[[Any], bool]
    message: str


@dataclass(frozen=True, slots=True)
class Unused:
    """Options that have no effect in combination with others.

    Attributes:
        options: Names of the fields.
        when: Whether they have no effect, given an object with the values of all options of the
            command as attributes.
        reason: End of the warning, such as "without --gate cascade". Names of fields in braces
            are replaced by their values.
    """

    options: tuple[str, ...]
    when: Callable[[Any], bool]
    reason: str


def _one_case(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [values]


@dataclass(frozen=True, slots=True)
class OptionRules:
    """Rules about combinations of the options of one command.

    Attributes:
        unused: Combinations that cause a warning.
        conflicts: Combinations that are refused.
        cases: Returns the values that the command will use, given those of the command line: one
            mapping for each method that it runs, for example. An option has no effect if it has
            none in every case.
    """

    unused: tuple[Unused, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    cases: Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]] = _one_case

    def check(self, values: Mapping[str, Any]) -> None:
        """Check the values of all options of a command.

        Raises:
            BadOption: If options contradict each other.
        """
        check_conflicts(SimpleNamespace(**values), self.conflicts)

    def without_effect(self, values: Mapping[str, Any], given: Collection[str]) -> dict[str, str]:
        """Return the options that have no effect, with the reason for each.

        Args:
            values: Values of all options of the command by field name.
            given: Fields that the user set.
        """
        found = {}
        cases = [SimpleNamespace(**case) for case in self.cases(values)]
        for name in given:
            rules = [rule for rule in self.unused if name in rule.options]
            fired = [next((r for r in rules if r.when(case)), None) for case in cases]
            if fired and fired[0] is not None and all(fired):
                found[name] = fired[0].reason.format_map({k: _words(v) for k, v in values.items()})
        return found


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@cache
def option_specs(options: Callable[..., Any]) -> dict[str, tuple[Any, OptionSpec]]:
    """Return the type and the spec of each field of a dataclass of options, in order."""
    hints = get_type_hints(options, include_extras=True)
    return {item.name: get_args(hints[item.name]) for item in fields(cast("Any", options))}


def known_names(options: type[Options]) -> type[Options]:
    """Make a dataclass of options name the nearest option where an unknown one is given."""
    create = options.__init__

    @wraps(create)
    def create_checked(self: Options, *given: Any, **named: Any) -> None:
        known, kind = option_specs(cast("Any", options)), options.__name__
        if given:
            example = next(iter(known))
            raise BadOption(f"{kind} takes its options by name, as in {example}=...")
        for name in named.keys() - known.keys():
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(known)}"
            raise BadOption(f"{kind} has no option {name}; {hint}")
        create(self, **named)

    options.__init__ = create_checked  # type: ignore[method-assign,assignment]
    return options


def check_options(options: object, conflicts: Sequence[Conflict] = ()) -> None:
    """Check that every field has its type, is within its bounds and has one of its literal values.

    Numbers of NumPy, paths and lists become the plain values of their fields.

    Args:
        options: Instance of a dataclass of options.
        conflicts: Combinations to refuse.

    Raises:
        BadOption: If a value is invalid or options contradict each other. The message names the
            flag.
    """
    declared: Any = type(options)
    for name, (kind, spec) in option_specs(declared).items():
        given = getattr(options, name)
        value = checked_value(spec.flags_of(name)[0], given, kind, spec)
        if value is not given:
            object.__setattr__(options, name, value)
    check_conflicts(options, conflicts)


def checked_value(name: str, given: Any, kind: Any, spec: OptionSpec) -> Any:
    """Return the value of one option as its declared type.

    Args:
        name: What messages call the option, such as its flag.
        given: The value.
        kind: Declared type.
        spec: Declaration of the option.

    Raises:
        BadOption: If it has another type, is out of bounds, or is not one of the literal values.
    """
    value = plain_value(name, given, kind)
    _check(name, value, kind, spec)
    return value


def check_conflicts(options: object, conflicts: Sequence[Conflict]) -> None:
    """Refuse combinations of options.

    Raises:
        BadOption: If one of the conflicts applies to the options.
    """
    for conflict in conflicts:
        if conflict.when(options):
            raise BadOption(conflict.message)


def plain_value(flag: str, value: Any, kind: Any) -> Any:
    """Return the value of an option as its declared type, if it is one of that kind.

    Raises:
        BadOption: If it is not; the message says what is taken.
    """
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is Literal:
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, tuple | list):
            made = tuple(plain_value(flag, one, get_args(kind)[0]) for one in value)
            return value if made == value else made
        raise BadOption(f"{flag} must be a list, not {shown_value(value)}")
    expected, accepts, convert = _KINDS.get(kind, ("", object, lambda value: value))
    if kind is bool and type(value).__name__ == "bool":  # of NumPy too
        return bool(value)
    if not isinstance(value, accepts) or (isinstance(value, bool) and kind in (int, float)):
        raise BadOption(f"{flag} must be {expected}, not {shown_value(value)}")
    return value if isinstance(value, kind) else convert(value)


# By the type of a field: what it takes in the words of messages, the types that are taken, and
# how they become the type of the field.
_KINDS: Mapping[Any, tuple[str, Any, Callable[[Any], Any]]] = {
    bool: ("True or False", bool, bool),
    int: ("a whole number", Integral, int),
    float: ("a number", Real, float),
    str: ("text", str | os.PathLike, lambda value: os.fsdecode(os.fspath(value))),
    Path: ("a path", str | os.PathLike, lambda value: Path(os.fsdecode(os.fspath(value)))),
}


def shown_value(value: object) -> str:
    """Return how messages show a value that is not taken: its kind, and itself if it is short."""
    if value is None or isinstance(value, bool | int | float | str):
        text = repr(value)
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return f"{_article(type(value).__name__)} {type(value).__name__}"


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def _check(flag: str, value: Any, kind: Any, spec: OptionSpec) -> None:
    if get_origin(kind) is Literal and (not isinstance(value, str) or value not in get_args(kind)):
        known = ", ".join(get_args(kind))
        raise BadOption(f"{flag} must be one of {known}, not {shown_value(value)}")
    if value is None or not isinstance(value, int | float):
        return
    # `not >=` instead of `<`: a NaN is out of bounds.
    if spec.minimum is not None and not value >= spec.minimum:
        raise BadOption(f"{flag} must be at least {_plain(spec.minimum)}, not {_plain(value)}")
    if spec.maximum is not None and not value <= spec.maximum:
        raise BadOption(f"{flag} must be at most {_plain(spec.maximum)}, not {_plain(value)}")


def _plain(value: Any) -> str:
    """Format a number without a trailing `.0`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list; blank items are dropped."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())
