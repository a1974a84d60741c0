"""Commands made from declarations: each field of a dataclass of options is a flag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_args, get_origin

import typer

from dreamr._option_specs import OptionSpec, option_specs
from dreamr._options import RunOptions


@dataclass(frozen=True, slots=True)
class Declared:
    """A dataclass of options as flags of a command.

    environment: what a flag's environment variable begins with, before the name of the field; None
    where there are none. A flag goes before its variable, and that before the default. only: the
    fields that the command has; None is all, the others keep their defaults.
    """

    options: Callable[..., Any]
    environment: str | None = None
    only: Collection[str] | None = None

    def parameters(self) -> list[Parameter]:
        """A parameter of a command for each field. Bounds are left to the dataclass."""
        return [
            _parameter(item, *option_specs(self.options)[item.name], self.environment)
            for item in self._fields()
        ]

    def read(self, values: Mapping[str, Any]) -> Any:
        """The options with the values of a command line.

        Raises:
            BadOption: a value outside its bounds or its words.
        """
        specs = option_specs(self.options)
        return self.options(
            **{i.name: _value(values[i.name], specs[i.name][0]) for i in self._fields()}
        )

    def _fields(self) -> Iterator[Field[Any]]:
        declared: Any = self.options
        return (item for item in fields(declared) if self.only is None or item.name in self.only)


def run_flags(only: Collection[str] | None = None) -> Declared:
    """The options of a run as flags, or these of them."""
    return Declared(RunOptions, "DREAMR_", only)


def command(body: Callable[..., Any], *declared: Declared, **given: Any) -> Callable[..., Any]:
    """A command as typer takes it, with the flags of all that is declared.

    body: is called with the options that were read, in the order of `declared`, and with what is
    `given`; its docstring is the command's help.
    """

    def read_and_run(**values: Any) -> Any:
        return body(*(one.read(values) for one in declared), **given)

    read_and_run.__doc__ = body.__doc__
    parameters = [parameter for one in declared for parameter in one.parameters()]
    read_and_run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return read_and_run


def _parameter(item: Field[Any], kind: Any, spec: OptionSpec, environment: str | None) -> Parameter:
    default = Parameter.empty if item.default is MISSING else item.default
    annotation = kind
    if _repeats(kind):  # typer knows lists
        annotation = list[get_args(kind)[0]]  # type: ignore[misc]
        default = Parameter.empty if default is Parameter.empty else None
        annotation = annotation if default is Parameter.empty else annotation | None
    info = typer.Argument(help=spec.help)
    if not spec.positional:
        info = _option(spec, spec.flags_of(item.name), kind, default is True)
        info.envvar = None if environment is None else f"{environment}{item.name.upper()}"
    return Parameter(
        item.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info]
    )


def _option(spec: OptionSpec, flags: tuple[str, ...], kind: Any, is_on: bool) -> Any:
    first, *others = flags
    if is_on:  # there must be a way to switch it off
        first += f"/--no-{first[2:]}"
    return typer.Option(
        first,
        *others,
        help=spec.help,
        show_envvar=False,  # one line about all of them says it better
        rich_help_panel=spec.group,
        show_default=spec.shown or kind is not bool,
    )


def _repeats(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _value(value: Any, kind: Any) -> Any:
    return tuple(value or ()) if _repeats(kind) else value
