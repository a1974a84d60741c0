"""Messages about wrong command lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from typer.exceptions import TyperException

_MOST = 3  # suggested names
# By the type of pydantic's error, which checks the values.
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}


def usage_message(error: TyperException) -> str:
    """Return one line with what is wrong, the closest known names, and where to find help."""
    context: Any = getattr(error, "ctx", None)
    if hasattr(error, "possibilities") and context is not None:
        name = error.option_name  # type: ignore[attr-defined]
        near = nearest(name, _flags(context.command))
        message = f"no such option: {name}"
        message += f"; did you mean {' or '.join(near)}?" if near else ""
    else:
        message = _bad_value(error) or _in_our_style(error.format_message())
    command = "dreamr" if context is None else context.command_path
    return f"{message} (try '{command} --help')"


def nearest(unknown: str, flags: Iterable[str]) -> list[str]:
    """Return the flags that an unknown one may stand for: similar, or containing it as a word."""
    named = {flag.lstrip("-"): flag for flag in flags}
    word = unknown.lstrip("-")
    alike = get_close_matches(word, named, _MOST)
    of_words = [name for name in named if word in name.split("-") and name not in alike]
    return [named[name] for name in [*alike, *of_words][:_MOST]]


def _bad_value(error: Any) -> str | None:
    """Return the message about a value of the wrong type, or None for other errors."""
    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter is None or not hasattr(cause, "errors"):
        return None
    found = cause.errors()[0]
    expected = _EXPECTED.get(found["type"])
    if choices := re.search(r" is not one of (.+?)\.?$", found["msg"]):
        expected = f"one of {choices[1].replace(chr(39), '')}"
    if expected is None:
        return f"{_name(error)}: {_in_our_style(found['msg'])}"
    return f"{_name(error)} must be {expected}, not {found['input']!r}"


def _name(error: Any) -> str:
    """Return the flag or the environment variable that an error is about."""
    parameter = error.param
    source = error.ctx and error.ctx.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(parameter.envvar)
    return str(next((flag for flag in parameter.opts if flag.startswith("--")), parameter.name))


def _in_our_style(message: str) -> str:
    """Return typer's message in lower case, without the final period and quotes around flags."""
    message = message.removeprefix("Value error, ").removesuffix(".")
    message = re.sub(r"'(--[\w-]+|[A-Z_]+)'", r"\1", message)
    message = message.replace(". Did you mean", "; did you mean")
    return message[:1].lower() + message[1:]


def _flags(command: Any) -> list[str]:
    return [
        flag
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    ]
