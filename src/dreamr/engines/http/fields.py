"""Fields of JSON that others wrote, read with checks.

What has another type than expected leads to one `EngineError` that names the field and the server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dreamr.errors import EngineError

_MOST_TOKENS = 10**9  # larger counts are not counts
_KINDS = {
    dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null",
}  # fmt: skip


def parse_json(text: str | bytes, url: str) -> object:
    """Parse a response as JSON.

    Raises:
        EngineError: If it is not JSON.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{url} did not return JSON: is the address right?") from error


@dataclass(slots=True)  # not frozen: several are made for every token
class Field:
    """A value in the JSON of a server.

    Attributes:
        value: The value; None if the field is missing.
        url: Address that returned the JSON, for messages.
        name: Name of the field, or position in a list.
        parent: The object or list that has the field; None for the whole answer.
    """

    value: object
    url: str
    name: str | int = ""
    parent: Field | None = None

    @property
    def path(self) -> str:
        """Names and positions that lead to the value, empty for the whole answer."""
        if self.parent is None:
            return str(self.name)
        if isinstance(self.name, int):
            return f"{self.parent.path}[{self.name}]"
        return f"{self.parent.path}.{self.name}".lstrip(".")

    def get(self, *names: str) -> Field:
        """Return the first of these fields of an object that is not null.

        Raises:
            EngineError: If the value is neither an object nor null.
        """
        values = self.fields()
        for name in names:
            if (value := values.get(name)) is not None:
                return Field(value, self.url, name, self)
        return Field(None, self.url, names[0], self)

    def items(self) -> list[Field]:
        """Return the values of a list; none for null.

        Raises:
            EngineError: If the value is neither a list nor null.
        """
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.unreadable("a list")
        return [Field(value, self.url, place, self) for place, value in enumerate(self.value)]

    def first(self) -> Field:
        """Return the first value of a list, null if it is empty.

        Raises:
            EngineError: If the value is neither a list nor null.
        """
        return next(iter(self.items()), Field(None, self.url, 0, self))

    def fields(self) -> dict[str, object]:
        """Return the fields of an object; none for null.

        Raises:
            EngineError: If the value is neither an object nor null.
        """
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.unreadable("an object")
        return self.value

    def piece(self) -> str:
        """Return a piece of a text, empty for null; it may end inside a character.

        Raises:
            EngineError: If the value is neither text nor null.
        """
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self.unreadable("text")
        return self.value

    def text(self) -> str:
        """Return a whole text, empty for null.

        Raises:
            EngineError: If the value is neither text nor null.
        """
        return whole_characters(self.piece())

    def count(self) -> int | None:
        """Return a number of tokens, None if the value is not one.

        Some servers send whole numbers as text or with a decimal point.
        """
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            found = float(value)
            return int(found) if 0 <= found <= _MOST_TOKENS and found.is_integer() else None
        except (ValueError, OverflowError):
            return None

    def unreadable(self, expected: str) -> EngineError:
        """Return the error for a value of another type than expected."""
        found = _KINDS.get(type(self.value), "a number")
        return EngineError(
            f"{self.url} sent {self.path or 'its answer'} as {found}, not as {expected}: is it an "
            "OpenAI-compatible server?"
        )


@dataclass(slots=True)
class Characters:
    """Characters of a text that arrives in pieces, which may end in half a character."""

    _half: str = ""  # first half of a character whose second half has not arrived

    def add(self, piece: str) -> str:
        """Return the whole characters of a piece; a half at its end comes with the next one."""
        if not (text := self._half + piece):
            return ""
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        return whole_characters(text.removesuffix(self._half))


def whole_characters(text: str) -> str:
    """Join the halves of characters, and replace halves that have no other half.

    JSON can contain half a character, which can be neither printed nor sent on. Servers that cut
    text at UTF-16 units send them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
