"""What is said of a command line that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from typer.exceptions import TyperException

_MOST = 3  # names that are suggested


def usage_message(error: TyperException) -> str:
    """What is wrong in one line, with the nearest known names, and where the help is."""
    # Checks of values are pydantic's, which begins its messages with their kind.
    message = error.format_message().removesuffix(".").replace(": Value error, ", ": ", 1)
    context: Any = getattr(error, "ctx", None)
    if hasattr(error, "possibilities") and context is not None:
        message = f"No such option: {error.option_name}"  # type: ignore[attr-defined]
        near = nearest(error.option_name, _flags(context.command))  # type: ignore[attr-defined]
        if near:
            message += f". Did you mean {' or '.join(near)}?"
    command = "dreamr" if context is None else context.command_path
    return f"{message} (try '{command} --help')"


def nearest(unknown: str, flags: Iterable[str]) -> list[str]:
    """The flags that an unknown one may stand for: of similar spelling, or with a word of it."""
    named = {flag.lstrip("-"): flag for flag in flags}
    word = unknown.lstrip("-")
    alike = get_close_matches(word, named, _MOST)
    of_words = [name for name in named if word in name.split("-") and name not in alike]
    return [named[name] for name in [*alike, *of_words][:_MOST]]


def _flags(command: Any) -> list[str]:
    return [
        flag
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    ]
