"""YAML as plain values that know their line and column.

The data types are those of YAML 1.2: `on`, `off` and dates are texts. What a file of settings does
not need is refused: aliases, tags, several documents, and the same key twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dreamr._messages import one_line
from dreamr.errors import Unsupported
from dreamr.pairs.errors import Fault
from dreamr.pairs.variables import Variables

_DEEPEST = 12  # levels; the declaration needs 5
_MOST_DIGITS = 300
# Plain scalars that are not texts (the core schema of YAML 1.2, without infinity and NaN).
_SCALARS = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+")),
    ("octal", re.compile(r"0o[0-7]+")),
    ("hex", re.compile(r"0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")),
)
# By the beginning of PyYAML's message.
_REMEDIES = (
    ("found character '\\t'", "a tab: use spaces"),
    ("found unexpected end of stream", "a quote that is not closed"),
    ("expected <block end>", "wrong indentation: begin the keys of one mapping in one column"),
    ("mapping values are not allowed", "a second colon: indent the line, or quote the value"),
    ("could not find expected ':'", "a key without a colon: write key: value"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file.

    Attributes:
        value: A text, number, truth value or None, a tuple of nodes, or a mapping of keys to nodes.
        line: Line, from 1.
        column: Column, from 1.
        text: A scalar as it is written, with variables replaced.
        keys: Of a mapping, the nodes of its keys.
        variable: Environment variable that the whole value is, if it is one.
        default: Default of that variable, None without one.
        raw: A scalar before variables were replaced.
        problem: Why a variable in it has no value, None if there is no such problem.
    """

    value: Any
    line: int
    column: int
    text: str = ""
    keys: Mapping[str, Node] | None = None
    variable: str | None = None
    default: str | None = None
    raw: Any = None
    problem: str | None = None

    def fault(self, message: str) -> Fault:
        """Return a fault at this place."""
        return Fault(self.line, self.column, message)

    def get(self, *path: str) -> Node | None:
        """Return the value under keys, None if there is none."""
        found: Node | None = self
        for key in path:
            inner = found.value if found is not None else None
            found = inner.get(key) if isinstance(inner, dict) else None
        return found

    def child(self, *path: str) -> Node:
        """Return the value under keys; the last one on the way to it that is there."""
        found = self
        for key in path:
            found = found.get(key) or found
        return found

    def key(self, *path: str) -> Node:
        """Return the key of a value, or the last value on the way to it that is there."""
        parent = self.child(*path[:-1])
        return (parent.keys or {}).get(path[-1], parent)

    def plain(self) -> Any:
        """Return the value as JSON has it, with variables as they are written."""
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items()}
            case tuple():
                return [node.plain() for node in self.value]
            case _:
                return self.raw


class UnreadableYaml(Exception):
    """The text is not YAML of the supported kind, so that nothing more can be said about it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def parse(text: str, variables: Variables, faults: list[Fault]) -> Node:
    """Read YAML.

    Args:
        text: Contents of the file.
        variables: Values of variables in texts.
        faults: Gets faults after which reading can go on.

    Raises:
        UnreadableYaml: If it is not YAML, or uses what is not supported.
        Unsupported: If PyYAML is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise Unsupported("pair files need PyYAML: pip install pyyaml") from error
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = {}  # all plain scalars are texts, until `_scalar`
        reader = _Reader(loader, variables, faults)
        return reader.document()
    except yaml.MarkedYAMLError as error:
        raise UnreadableYaml(_marked(error)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, error.position - before.rfind("\n"))
        what = f"the character U+{error.character:04X}, which YAML does not allow"
        raise UnreadableYaml(
            Fault(*place, f"not valid YAML: {what}: remove it, or save the file as UTF-8 text")
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Reader:
    """Makes nodes of the events of PyYAML's parser."""

    def __init__(self, loader: Any, variables: Variables, faults: list[Fault]) -> None:
        self._loader = loader
        self._variables = variables
        self._faults = faults

    def document(self) -> Node:
        """Return the only document.

        Raises:
            UnreadableYaml: If there is none, or another one.
        """
        import yaml

        self._loader.get_event()  # the stream begins
        if self._loader.check_event(yaml.StreamEndEvent):
            raise UnreadableYaml(Fault(1, 1, "the file is empty: declare models and pairs"))
        self._loader.get_event()  # the document begins
        found = self._node(0)
        self._loader.get_event()  # it ends
        event = self._loader.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            raise UnreadableYaml(_at(event, "a second document: a pair file holds one"))
        return found

    def _node(self, depth: int) -> Node:
        import yaml

        event: Any = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent):
            raise UnreadableYaml(
                _at(event, f"aliases (*{one_line(event.anchor, 40)}) are not supported: repeat it")
            )
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
            raise UnreadableYaml(_at(event, f"the tag {one_line(event.tag, 60)} is not supported"))
        if depth > _DEEPEST:
            raise UnreadableYaml(_at(event, "nested too deeply"))
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event)
            case yaml.SequenceStartEvent():
                return _place(event, tuple(self._items(depth)))
            case _:
                return self._mapping(event, depth)

    def _items(self, depth: int) -> Iterator[Node]:
        import yaml

        while not self._loader.check_event(yaml.SequenceEndEvent):
            yield self._node(depth + 1)
        self._loader.get_event()

    def _mapping(self, start: Any, depth: int) -> Node:
        import yaml

        keys: dict[str, Node] = {}
        values: dict[str, Node] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._node(depth + 1)
            if isinstance(key.value, dict | tuple):
                raise UnreadableYaml(key.fault("a key must be text"))
            name = key.raw if isinstance(key.raw, str) else key.text
            value = self._node(depth + 1)
            if name in keys:
                first = keys[name]
                self._faults.append(
                    key.fault(f'"{one_line(name, 60)}" is given twice; first in line {first.line}')
                )
                continue
            keys[name], values[name] = key, value
        self._loader.get_event()
        return _place(start, values, keys=keys)

    def _scalar(self, event: Any) -> Node:
        text, is_plain = event.value, event.style is None and event.tag is None
        raw = typed(text) if is_plain else text
        node = _place(event, raw, text=text, raw=raw)
        if not isinstance(raw, str):
            if isinstance(raw, float) and raw in (float("inf"), float("-inf")):
                self._faults.append(node.fault("this number is too large"))
            return node
        found, problem = self._variables.replace(text)
        value = typed(found.text) if found.variable is not None else found.text
        more = {
            "variable": found.variable, "default": found.default, "raw": raw, "problem": problem,
        }  # fmt: skip
        return _place(event, value, text=found.text, **more)


def _marked(error: Any) -> Fault:
    """Return the fault that PyYAML found, with a remedy for the usual ones."""
    problem = error.problem or error.context or ""
    mark = error.problem_mark or error.context_mark
    if problem == "found unexpected end of stream" and error.context_mark is not None:
        mark = error.context_mark  # where the text in quotes begins
    remedy = next((remedy for begins, remedy in _REMEDIES if problem.startswith(begins)), None)
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return Fault(line + 1, column + 1, f"not valid YAML: {remedy or one_line(problem)}")


def typed(text: str) -> Any:
    """Return the value that a plain scalar stands for."""
    kind = next((kind for kind, form in _SCALARS if form.fullmatch(text)), "text")
    if len(text) > _MOST_DIGITS:
        return text
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "octal":
            return int(text[2:], 8)
        case "hex":
            return int(text[2:], 16)
        case "float":
            return float(text)
        case _:
            return text


def _place(event: Any, value: Any, **more: Any) -> Node:
    mark = event.start_mark
    return Node(value, mark.line + 1, mark.column + 1, **more)


def _at(event: Any, message: str) -> Fault:
    return Fault(event.start_mark.line + 1, event.start_mark.column + 1, message)
