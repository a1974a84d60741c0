"""Flags made from the one declaration of a run's options."""

from __future__ import annotations

from inspect import Parameter
from typing import Annotated, Any

import typer

from dreamr._options import Knob, RunOptions, knobs


def option_parameters() -> list[Parameter]:
    """For each field of `RunOptions` a parameter of a command, with its default.

    A flag goes before its environment variable, DREAMR_ and the name of the field, and that before
    the default. Bounds are left to `RunOptions`.
    """
    defaults = RunOptions()
    return [
        _parameter(name, kind, knob, getattr(defaults, name))
        for name, (kind, knob) in knobs().items()
    ]


def _parameter(name: str, kind: Any, knob: Knob, default: Any) -> Parameter:
    flag = name.replace("_", "-")
    option = typer.Option(
        f"--{flag}",
        help=knob.help,
        envvar=f"DREAMR_{name.upper()}",
        show_envvar=False,  # one line about all of them says it better
        rich_help_panel=knob.group,
        show_default=knob.shown or kind is not bool,
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
