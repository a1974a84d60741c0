"""Flags made from the one declaration of a run's options."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from dreamr._option_specs import OptionSpec, option_specs


def option_parameters(options: Callable[..., Any], environment: str = "DREAMR_") -> list[Parameter]:
    """For each field of a dataclass of options a parameter of a command, with its default.

    A flag goes before its environment variable, `environment` and the name of the field, and that
    before the default. Bounds are left to the dataclass.
    """
    defaults = options()
    return [
        _parameter(name, kind, spec, getattr(defaults, name), environment)
        for name, (kind, spec) in option_specs(options).items()
    ]


def with_flags(command: Callable[..., Any], flags: list[Parameter]) -> None:
    """Put flags in the place of a command's `**options`, for typer, which reads its signature."""
    own = signature(command, eval_str=True).parameters.values()
    named = [p for p in own if p.kind is not Parameter.VAR_KEYWORD]
    command.__signature__ = Signature([*named, *flags])  # type: ignore[attr-defined]


def _parameter(name: str, kind: Any, spec: OptionSpec, default: Any, environment: str) -> Parameter:
    flag = f"--{name.replace('_', '-')}"
    if default is True:  # there must be a way to switch it off
        flag += f"/--no-{flag[2:]}"
    option = typer.Option(
        flag,
        help=spec.help,
        envvar=f"{environment}{name.upper()}",
        show_envvar=False,  # one line about all of them says it better
        rich_help_panel=spec.group,
        show_default=spec.shown or kind is not bool,
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
