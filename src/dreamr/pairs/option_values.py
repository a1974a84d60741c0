"""Values of options in a pair file: their types and bounds are those of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from dreamr._messages import one_line
from dreamr._option_specs import BadOption, OptionSpec, checked_value
from dreamr.pairs.nodes import Node
from dreamr.pairs.shapes import UNCLEAN, Reading, is_clean, quoted
from dreamr.pairs.variables import WHOLE

VARIABLE = {"$ref": "#/definitions/variable"}
DEFINITIONS = {
    "variable": {"description": "An environment variable.", "type": "string", "pattern": WHOLE}
}


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an option, as its declaration says.

    Attributes:
        kind: Type of the option.
        spec: Its declaration.
        default: Its default. None: it has none, or it is described in words.
    """

    kind: Any
    spec: OptionSpec
    default: Any = None

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        found = _schema_of(self.kind, self.spec)
        if self.default is not None and self.spec.shown is None:
            default = self.default
            found["default"] = list(default) if isinstance(default, tuple) else default
        return {"description": self.spec.help, **found}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """Return the value."""
        if node.problem is not None:
            reading.add(node, node.problem)
            return None
        given, kind = _given(node), _without_none(self.kind)
        if node.variable is not None and kind is str:
            given = node.text
        if kind is int and isinstance(given, float) and given.is_integer():
            given = int(given)
        try:
            if given is None and self.kind is kind:
                raise BadOption(f"{name} is empty: give a value, or leave it out")
            if isinstance(given, str) and not is_clean(given):
                raise BadOption(f"{name} {UNCLEAN}")
            return checked_value(name, given, self.kind, self.spec)
        except BadOption as error:
            hint = ""
            if kind is str and isinstance(node.value, int | float):
                hint = f": write it in quotes, {quoted(node)}"
            reading.add(node, f"{one_line(error)}{hint}")
            return None


def _schema_of(kind: Any, spec: OptionSpec) -> dict[str, Any]:
    """Return the schema of an option's type, without description."""
    plain = _without_none(kind)
    if get_origin(plain) is tuple:
        found: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    elif get_origin(plain) is Literal:
        found = {"anyOf": [{"enum": list(get_args(plain))}, VARIABLE]}
    elif plain is str:
        found = {"type": "string"}
    elif plain is bool:
        found = {"anyOf": [{"type": "boolean"}, VARIABLE]}
    else:
        number: dict[str, Any] = {"type": "integer" if plain is int else "number"}
        bounds = {"minimum": spec.minimum, "maximum": spec.maximum}
        number |= {name: bound for name, bound in bounds.items() if bound is not None}
        found = {"anyOf": [number, VARIABLE]}
    if plain is kind:
        return found
    return {"anyOf": [*found.get("anyOf", [found]), {"type": "null"}]}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(one for one in get_args(kind) if one is not NoneType)
    return kind


def _given(node: Node) -> Any:
    """Return the value of a node as Python's plain types."""
    if isinstance(node.value, tuple):
        return tuple(item.text if item.variable else _given(item) for item in node.value)
    if isinstance(node.value, dict):
        return {key: _given(item) for key, item in node.value.items()}
    return node.value
