"""Shapes of values in a pair file: each is a JSON schema and reads what the schema describes.

Both come from the same declaration, so that an editor and dreamr accept the same files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Protocol

from dreamr._messages import one_line
from dreamr._option_specs import shown_value
from dreamr.pairs.errors import Fault
from dreamr.pairs.nodes import Node

_MOST_NAMED = 12  # keys in a message
_DIGITS = re.compile(r"[0-9]+")
UNCLEAN = "contains a NUL or half of a surrogate pair: remove the escape"


@dataclass(slots=True)
class Reading:
    """A file that is being read.

    Attributes:
        faults: Faults so far.
        needs_secrets: Whether a secret whose variable is not set is a fault.
    """

    faults: list[Fault] = field(default_factory=list)
    needs_secrets: bool = True

    def add(self, node: Node, message: str) -> None:
        """Add a fault at a node."""
        self.faults.append(node.fault(message))


class Shape(Protocol):
    """The shape of a value."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the value of a node, None after adding a fault.

        Args:
            node: The node.
            name: What messages call the value.
            reading: Gets faults.
        """


@dataclass(frozen=True, slots=True)
class Text:
    """A text.

    Attributes:
        about: Description.
        pattern: Regular expression that it matches, also of JavaScript. None: any but the empty
            text.
        rule: What the pattern asks for, in words.
        secret: Whether messages must not show it.
        numbers: Whether a number is taken as the text that was written.
    """

    about: str
    pattern: str | None = None
    rule: str = ""
    secret: bool = False
    numbers: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        kind: Any = ["string", "number"] if self.numbers else "string"
        found = {"description": self.about, "type": kind}
        if self.pattern is None:
            return found | {"minLength": 1}
        return found | {"pattern": self.pattern}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the text."""
        if node.problem is not None:
            if reading.needs_secrets or not self.secret or node.variable is None:
                reading.add(node, node.problem)
            return None
        is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        is_text = node.variable is not None or isinstance(node.value, str)
        if not (is_text or (self.numbers and is_number)):
            reading.add(node, _not_text(name, node, self.secret))
            return None
        if node.text == "" and self.pattern is None:
            if self.secret and node.variable is not None:
                return ""
            reading.add(node, f"{name} must not be empty")
        elif self.pattern is not None and not re.search(_ended(self.pattern), node.text):
            shown = "" if self.secret else f", not {shown_value(node.text)}"
            reading.add(node, f"{name} must be {self.rule}{shown}")
        elif not is_clean(node.text):
            reading.add(node, f"{name} {UNCLEAN}")
        return node.text


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list.

    Attributes:
        about: Description.
        item: Shape of each item.
        least: Smallest number of items.
    """

    about: str
    item: Shape
    least: int = 0

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        found = {"description": self.about, "type": "array", "items": self.item.schema()}
        return found | ({"minItems": self.least} if self.least else {})

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the items as a tuple."""
        if not isinstance(node.value, tuple):
            example = "" if isinstance(node.value, dict) else f": write [{self._items(node)}]"
            reading.add(node, f"{name} must be a list, not {_shown(node)}{example}")
            return ()
        if len(node.value) < self.least:
            reading.add(node, f"{name} must not be empty")
        return tuple(self.item.read(item, name, reading) for item in node.value)

    def _items(self, node: Node) -> str:
        """Return what a scalar is probably meant as: its words, or the numbers in it."""
        words = node.text.split() if isinstance(self.item, Text) else _DIGITS.findall(node.text)
        return one_line(", ".join(words), 60)


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """A text, or a list of at least one.

    Attributes:
        item: The text.
    """

    item: Text

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        single = self.item.schema()
        about = single.pop("description")
        several = {"type": "array", "items": single, "minItems": 1}
        return {"description": about, "anyOf": [single, several]}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the texts as a tuple."""
        if isinstance(node.value, tuple):
            return ListOf("", self.item, 1).read(node, name, reading)
        return (self.item.read(node, name, reading),)


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping of free names to values of one shape.

    Attributes:
        about: Description.
        key: Shape of the names.
        item: Shape of the values.
        least: Smallest number of entries.
    """

    about: str
    key: Text
    item: Shape
    least: int = 0

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        found: dict[str, Any] = {"description": self.about, "type": "object"}
        found["propertyNames"] = {"pattern": self.key.pattern}
        found["additionalProperties"] = self.item.schema()
        return found | ({"minProperties": self.least} if self.least else {})

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the values by name."""
        if not isinstance(node.value, dict):
            reading.add(node, f"{name} must be a mapping of names, not {_shown(node)}")
            return {}
        if len(node.value) < self.least:
            reading.add(node, f"{name} must not be empty")
        for key, place in (node.keys or {}).items():
            plain = replace(place, value=key, text=key, variable=None, problem=None)
            self.key.read(plain, f"the name in {name}", reading)
        return {key: self.item.read(item, key, reading) for key, item in node.value.items()}


@dataclass(frozen=True, slots=True)
class FieldsOf:
    """A mapping with known keys.

    Attributes:
        about: Description.
        fields: Shapes by key.
        required: Keys that must be there.
        one_of: Keys of which exactly one must be there.
        some_of: Keys of which at least one must be there.
        needs: Keys that are of use only with another one.
        elsewhere: Why keys that users may expect are not here.
    """

    about: str
    fields: Mapping[str, Shape]
    required: Sequence[str] = ()
    one_of: Sequence[str] = ()
    some_of: Sequence[str] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[str], str | None] = lambda key: None

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        found: dict[str, Any] = {"description": self.about, "type": "object"}
        found["properties"] = {key: shape.schema() for key, shape in self.fields.items()}
        found["additionalProperties"] = False
        if self.required:
            found["required"] = list(self.required)
        if self.one_of:
            found["oneOf"] = [{"required": [key]} for key in self.one_of]
        if self.some_of:
            found["anyOf"] = [{"required": [key]} for key in self.some_of]
        if self.needs:
            found["dependencies"] = {key: [other] for key, other in self.needs.items()}
        return found

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the values that are there by key."""
        if not isinstance(node.value, dict):
            reading.add(node, f"{name} must be a mapping, not {_shown(node)}")
            return {}
        keys, meant = node.keys or {}, set[str | None]()
        for key in keys.keys() - self.fields.keys():
            near = self._near(key)
            meant |= {near}
            reading.add(keys[key], self._unknown(key, near))
        self._check_keys(node, name, reading, meant)
        return {
            key: shape.read(node.value[key], key, reading)
            for key, shape in self.fields.items()
            if key in node.value
        }

    def _check_keys(
        self, node: Node, name: str, reading: Reading, meant: Collection[str | None]
    ) -> None:
        """Add faults about keys that are missing, unless misspelled ones are meant as them."""
        given, keys = node.value, node.keys or {}
        for key in self.required:
            if key not in given and key not in meant:
                reading.add(node, f'{name} needs "{key}"')
        both = [key for key in self.one_of if key in given]
        if len(both) > 1:
            reading.add(keys[both[-1]], f"{name} has both {' and '.join(both)}: keep one of them")
        for names, found in ((self.one_of, both), (self.some_of, None)):
            there = both if found is not None else given.keys() & set(names)
            if names and not there and not set(names) & set(meant):
                reading.add(node, f"{name} needs {' or '.join(names)}")
        for key, other in self.needs.items():
            if key in given and other not in given:
                reading.add(keys[key], f'"{key}" needs "{other}"')

    def _near(self, key: str) -> str | None:
        """Return the known key that an unknown one is probably meant as."""
        if self.elsewhere(key) is not None:
            return None
        return next(iter(get_close_matches(key.lower().replace("-", "_"), self.fields, 1)), None)

    def _unknown(self, key: str, near: str | None) -> str:
        shown = one_line(key, 60)
        if reason := self.elsewhere(key):
            return f'unknown key "{shown}": {reason}'
        if near is not None:
            return f'unknown key "{shown}": did you mean "{near}"?'
        if len(self.fields) <= _MOST_NAMED:
            return f'unknown key "{shown}": the keys here are {", ".join(self.fields)}'
        return f'unknown key "{shown}": dreamr pair schema lists the keys'


def is_clean(text: str) -> bool:
    """Return whether a text can be an argument, a variable or a path of the system."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _ended(pattern: str) -> str:
    """Return a pattern of JavaScript for Python, in which `$` also matches before a line break."""
    return f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern


def _not_text(name: str, node: Node, secret: bool) -> str:
    if isinstance(node.value, dict | tuple):
        return f"{name} must be text, not {_shown(node)}"
    if node.value is None:
        return f"{name} must be text, and is empty"
    shown = "" if secret else f", {quoted(node)}"
    return f"{name} must be text: write it in quotes{shown}"


def _shown(node: Node) -> str:
    match node.value:
        case dict():
            return "a mapping"
        case tuple():
            return "a list"
        case None:
            return "empty"
        case str():
            return shown_value(one_line(node.raw if node.variable else node.value))
        case _:
            return shown_value(node.value)


def quoted(node: Node) -> str:
    """Return the text of a scalar in quotes, for a message."""
    return f'"{one_line(node.text, 60)}"'
