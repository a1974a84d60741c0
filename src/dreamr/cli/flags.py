"""Commands made from declarations: each field of a dataclass of options is a flag."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from dreamr._model_options import MODELS
from dreamr._option_specs import OptionRules, OptionSpec, check_options, option_specs
from dreamr._options import RunOptions
from dreamr.cli.file_checks import check_files
from dreamr.cli.pair_flag import PairFlag, PairUse, PairValues

CONTEXT = "context"  # the parameter that takes typer's context
_NONE = OptionRules()
_NO_VALUES: Mapping[str, Any] = MappingProxyType({})
# What the help shows for the value of a flag. Typer's own names are those of Python's types.
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A dataclass of options whose fields are flags of a command.

    Attributes:
        options: The dataclass.
        environment: Prefix of the environment variables, followed by the name of the field in
            upper case. None: no environment variables. A flag overrides its variable.
        only: Fields that are flags; the others keep their defaults. None: all.
    """

    options: Callable[..., Any]
    environment: str | None = None
    only: Collection[str] | None = None

    def parameters(self) -> list[Parameter]:
        """Return a parameter of the command for each flag; `read` checks the bounds."""
        return [
            _parameter(item, *option_specs(self.options)[item.name], self.variable(item.name))
            for item in self.flags()
        ]

    def read(self, values: Mapping[str, Any], of_pair: Mapping[str, Any] = _NO_VALUES) -> Any:
        """Return the options with the values of a command line.

        Args:
            values: The values of the command line.
            of_pair: Values of a pair file that come before them; of fields that are not flags,
                they are left out.

        Raises:
            BadOption: If a value is invalid or options contradict each other.
        """
        specs = option_specs(self.options)
        given = {**values, **of_pair}
        made = self.options(
            **{i.name: _value(given[i.name], specs[i.name][0]) for i in self.flags()}
        )
        check_options(made)
        return made

    def flags(self) -> Iterator[Field[Any]]:
        """Yield the fields that are flags."""
        declared: Any = self.options
        return (item for item in fields(declared) if self.only is None or item.name in self.only)

    def variable(self, name: str) -> str | None:
        """Return the environment variable of a field."""
        return None if self.environment is None else f"{self.environment}{name.upper()}"


def run_flags(only: Collection[str] | None = None) -> Declared:
    """Return the options of a run as flags, or only some of them."""
    return Declared(RunOptions, "DREAMR_", only)


def command(
    body: Callable[..., Any],
    *declared: Declared,
    rules: OptionRules = _NONE,
    pair: PairUse | None = None,
    **given: Any,
) -> Callable[..., Any]:
    """Return a command as typer takes it.

    A command with options of a run takes `--pair` too. Its models are then opened with the API
    keys of the pair file, by the argument `open_model`.

    Args:
        body: Called with an instance of each declared dataclass, in this order, and with `given`.
            Its docstring is the help of the command.
        declared: Dataclasses whose fields are flags.
        rules: Combinations of options that are refused, or that cause a warning.
        pair: How the command uses a pair file. None: as its options of a run, if it has any.
        given: Further arguments for `body`.
    """
    if pair is None and any(one.options is RunOptions for one in declared):
        pair = PairUse()

    def read_and_run(**values: Any) -> Any:
        context = values.pop(CONTEXT)
        of_pair = PairValues(pair, values, lambda name: _source(context, name))
        options = [one.read(values, dict(of_pair.of(one.options))) for one in declared]
        every = _values(declared, options)
        rules.check(every)
        flag = [] if pair is None else [_PAIR]
        check_files(_files([*declared, *flag], [*options, *(one.read(values) for one in flag)]))
        for warning in (*of_pair.warnings, *_warnings(declared, rules, every, context)):
            print(f"warning: {warning}", file=sys.stderr)
        return body(*options, **of_pair.arguments(given, _of_runs(declared, options)))

    read_and_run.__doc__ = _unwrapped(body.__doc__ or "")
    parameters = [parameter for one in declared for parameter in one.parameters()]
    if pair is not None:
        panels = [_panel(parameter) for parameter in parameters]
        first = panels.index(MODELS) if MODELS in panels else 0
        parameters[first:first] = _PAIR.parameters()
    parameters.append(Parameter(CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context))
    read_and_run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return read_and_run


_PAIR = Declared(PairFlag, "DREAMR_")


def _of_runs(declared: Collection[Declared], options: Collection[Any]) -> dict[str, Any]:
    """Return the values of the flags that are options of a run."""
    runs = [pair for pair in zip(declared, options, strict=True) if pair[0].options is RunOptions]
    return {item.name: getattr(read, item.name) for one, read in runs for item in one.flags()}


def _panel(parameter: Parameter) -> str | None:
    """Return the heading under which the help lists a parameter."""
    panel: str | None = get_args(parameter.annotation)[1].rich_help_panel
    return panel


def _source(context: Any, name: str) -> str:
    """Return where a parameter has its value from: 'COMMANDLINE', 'ENVIRONMENT' or another."""
    source = context.get_parameter_source(name)
    return "DEFAULT" if source is None else str(source.name)


def _unwrapped(text: str) -> str:
    """Return a docstring with each paragraph on one line: the terminal wraps it again."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _values(declared: Collection[Declared], options: Collection[Any]) -> dict[str, Any]:
    """Return the values of all options by field; flags take precedence over fields without one."""
    pairs = list(zip(declared, options, strict=True))
    every = {i.name: getattr(read, i.name) for _, read in pairs for i in fields(read)}
    flags = {i.name: getattr(read, i.name) for one, read in pairs for i in one.flags()}
    return {**every, **flags}


def _files(
    declared: Collection[Declared], options: Collection[Any]
) -> dict[str, tuple[OptionSpec, Any]]:
    """Return declaration and value of each flag."""
    found = {}
    for one, read in zip(declared, options, strict=True):
        specs = option_specs(one.options)
        for item in one.flags():
            spec = specs[item.name][1]
            name = item.name.upper() if spec.positional else spec.flags_of(item.name)[0]
            found[name] = spec, getattr(read, item.name)
    return found


def _warnings(
    declared: Collection[Declared], rules: OptionRules, values: Mapping[str, Any], context: Any
) -> Iterator[str]:
    """Yield a warning for each option that the user set without effect."""
    sources = {}
    for one in declared:
        for item in one.flags():
            source = _source(context, item.name)
            if source in ("COMMANDLINE", "ENVIRONMENT"):
                variable = one.variable(item.name) if source == "ENVIRONMENT" else None
                spec = option_specs(one.options)[item.name][1]
                sources[item.name] = variable or _flag(spec, item, values[item.name])
    for name, reason in rules.without_effect(values, sources).items():
        yield f"{sources[name]} has no effect {reason}"


def _flag(spec: OptionSpec, item: Field[Any], value: Any) -> str:
    """Return the flag that gives an option its value."""
    flag = spec.flags_of(item.name)[0]
    return f"--no-{flag[2:]}" if item.default is True and value is False else flag


def _parameter(item: Field[Any], kind: Any, spec: OptionSpec, variable: str | None) -> Parameter:
    default = Parameter.empty if item.default is MISSING else item.default
    annotation = kind
    if _repeats(kind):  # typer supports lists, not tuples of any length
        annotation = list[get_args(kind)[0]]  # type: ignore[misc]
        default = Parameter.empty if default is Parameter.empty else None
        annotation = annotation if default is Parameter.empty else annotation | None
    info = typer.Argument(help=spec.help, metavar=item.name.upper())
    if not spec.positional:
        info = _option(spec, spec.flags_of(item.name), kind, default is True)
        info.envvar = variable
    return Parameter(
        item.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info]
    )


def _option(spec: OptionSpec, flags: tuple[str, ...], kind: Any, is_on: bool) -> Any:
    first, *others = flags
    if is_on:
        first += f"/--no-{first[2:]}"
    return typer.Option(
        first,
        *others,
        help=spec.help,
        metavar=_metavar(kind),
        show_envvar=False,  # the epilog describes the variables of all options in one sentence
        rich_help_panel=spec.group,
        show_default=spec.shown or kind is not bool or is_on,
    )


def _metavar(kind: Any) -> str:
    """Return the placeholder of a flag's value in the help; empty for a switch."""
    if get_origin(kind) is Literal:
        return "NAME"
    kinds = [k for k in (get_args(kind) or (kind,)) if k in _METAVARS]
    return _METAVARS[kinds[0]] if kinds else ""


def _repeats(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _value(value: Any, kind: Any) -> Any:
    return tuple(value or ()) if _repeats(kind) else value
