"""Options that are declared once, as annotated fields of a dataclass.

Command-line flags, their help, environment variables, bounds and the reference page are made from
the declarations. Rules say which combinations of options are refused, and in which combinations an
option has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from dreamr.errors import DreamrError


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
    """

    help: str
    group: str
    minimum: float | None = None
    maximum: float | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    positional: bool = False

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


def check_options(options: object, conflicts: Sequence[Conflict] = ()) -> None:
    """Check that every field is within its bounds and has one of its literal values.

    Args:
        options: Instance of a dataclass of options.
        conflicts: Combinations to refuse.

    Raises:
        BadOption: If a value is invalid or options contradict each other. The message names the
            flag.
    """
    declared: Any = type(options)
    for name, (kind, spec) in option_specs(declared).items():
        _check(spec.flags_of(name)[0], getattr(options, name), kind, spec)
    check_conflicts(options, conflicts)


def check_conflicts(options: object, conflicts: Sequence[Conflict]) -> None:
    """Refuse combinations of options.

    Raises:
        BadOption: If one of the conflicts applies to the options.
    """
    for conflict in conflicts:
        if conflict.when(options):
            raise BadOption(conflict.message)


def _check(flag: str, value: Any, kind: Any, spec: OptionSpec) -> None:
    if get_origin(kind) is Literal and value not in get_args(kind):
        known = ", ".join(get_args(kind))
        raise BadOption(f"{flag} must be one of {known}, not {value!r}")
    if value is None:
        return
    # `not >=` instead of `<`: a NaN is out of bounds.
    if spec.minimum is not None and not value >= spec.minimum:
        raise BadOption(f"{flag} must be at least {spec.minimum:g}, not {_plain(value)}")
    if spec.maximum is not None and not value <= spec.maximum:
        raise BadOption(f"{flag} must be at most {spec.maximum:g}, not {_plain(value)}")


def _plain(value: Any) -> str:
    """Format a number without a trailing `.0`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list; blank items are dropped."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())
