"""Environment variables in texts of a pair file: `${NAME}` and `${NAME:-default}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_FORM = re.compile(
    r"\$(?:\$(?=\{)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\{)"
)
# A whole value that is a variable; part of the schema, so in the syntax of JavaScript too.
WHOLE = r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"
_WHOLE = re.compile(WHOLE)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A text with the values of its variables.

    Attributes:
        text: The text.
        variable: Name of the variable that the whole text was, None if it was not one.
        default: Default of that variable, None without one.
    """

    text: str
    variable: str | None = None
    default: str | None = None


def literal(text: str) -> str:
    """Return a text as a pair file has it, so that nothing in it is read as a variable."""
    return text.replace("${", "$${")


class Variables:
    """Values of environment variables for one file.

    Args:
        environment: Values by name.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def replace(self, text: str) -> tuple[Replaced, str | None]:
        """Return a text with its variables replaced, and what is wrong with one of them."""
        problems: list[str] = []

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":  # before a brace: a dollar that is meant
                return "$"
            name, default = match["name"], match["default"]
            if name is None:
                problems.append(
                    "a variable is ${NAME} or ${NAME:-default}; write $${ for a dollar and a brace"
                )
                return match[0]
            found = self._environment.get(name)
            if found:
                return found
            if default is not None:
                return str(default)
            if found is None:
                problems.append(
                    f"the environment variable {name} is not set: set it, or write "
                    f"${{{name}:-default}}"
                )
            return ""

        made = _FORM.sub(value, text)
        whole = _WHOLE.fullmatch(text)
        variable = _FORM.fullmatch(text) if whole else None
        name, default = (variable["name"], variable["default"]) if variable else (None, None)
        return Replaced(made, name, default), problems[0] if problems else None
