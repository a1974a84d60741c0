"""Generator of the reference page of the command line.

`scripts/docs` writes the page, and a test checks that it is current.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo, ParameterInfo

from dreamr.cli.app import build_app
from dreamr.cli.flags import CONTEXT

_HEAD = """# Command line

Generated from the code by `scripts/docs`. Do not edit.
"""


def reference() -> str:
    """Return the page as Markdown."""
    app = build_app()
    parts = [_HEAD]
    if app.registered_callback is not None:
        parts.append(
            _command("dreamr", app.registered_callback.callback, app.registered_callback.epilog)
        )
    groups = [("dreamr", app)]
    for group in app.registered_groups:
        if group.typer_instance is not None:
            groups.append((f"dreamr {group.name}", group.typer_instance))
    for title, commands in groups:
        for command in commands.registered_commands:
            parts.append(_command(f"{title} {command.name}", command.callback, command.epilog))
    return "\n".join(parts)


def _command(title: str, callback: Callable[..., Any] | None, epilog: str | None) -> str:
    assert callback is not None
    lines = [f"## {title}", "", inspect.getdoc(callback) or "", ""]
    signature = inspect.signature(callback, eval_str=True)
    parameters = [one for one in signature.parameters.values() if one.name != CONTEXT]
    for heading, rows in _groups(parameters).items():
        lines += [f"| {heading} | | default | environment |", "|---|---|---|---|", *rows, ""]
    if epilog:
        lines += [_epilog(epilog), ""]
    return "\n".join(lines)


def _epilog(text: str) -> str:
    """Return an epilog with its examples as a code block."""
    examples, *notes = text.split("\n\n")
    heading, *commands = examples.splitlines()
    block = "\n".join((heading, "", "```sh", *(line.strip() for line in commands), "```"))
    return "\n\n".join((block, *notes))


def _groups(parameters: Iterable[Parameter]) -> dict[str, list[str]]:
    """Return a row for each parameter by its heading in the help."""
    groups: dict[str, list[str]] = {}
    for parameter in parameters:
        kind, info = get_args(parameter.annotation)
        heading = "Arguments" if isinstance(info, ArgumentInfo) else "Options"
        rows = groups.setdefault(info.rich_help_panel or heading, [])
        rows.append(_row(parameter, kind, info))
    return groups


def _row(parameter: Parameter, kind: Any, info: ParameterInfo) -> str:
    # In an annotation, typer stores the first flag as the default.
    flags = [flag for flag in (info.default, *(info.param_decls or ())) if isinstance(flag, str)]
    names = ", ".join(f"`{flag}`" for flag in flags) or f"`{parameter.name.upper()}`"
    if get_origin(kind) is Literal:
        names += f" {' / '.join(get_args(kind))}"
    environment = f"`{info.envvar}`" if info.envvar else ""
    return f"| {names} | {info.help} | {_default(parameter, info)} | {environment} |"


def _default(parameter: Parameter, info: ParameterInfo) -> str:
    if isinstance(info.show_default, str):
        return info.show_default
    default = parameter.default
    if default is Parameter.empty:
        return "required"
    return "" if default is None or default is False else str(default)


if __name__ == "__main__":
    print(reference(), end="")
