"""Generate docs/reference/errors.md: every message that a user can see, collected from the source.

Run by scripts/docs. Only the syntax of the source is read, so no package is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "errors.md"
SOURCES = (ROOT / "src", ROOT / "testbed" / "src")
BASE = "DreamrError"
# Functions that make an error, with the class that they return.
MAKERS = {
    "bad_request": "ApiError",
    "unwritable": "Unwritable",
    "_fail": "DreamrError",
}
# Errors of Python itself. Some reach users inside of other messages, all reach users of the API.
BUILTIN = ("ValueError", "TypeError", "RuntimeError", "BadRecipe")
WARNINGS = ("warn", "Warn", "Note", "warning", "exception")
USAGE = "usage error"  # of argparse, in the test bed's recipe
# Packages and classes that requests to the gateway do not reach.
NO_GATEWAY = ("cli", "evaluation", "training", "dreamr_testbed")
NO_RESPONSE = ("Unwritable", "TraceError")

HEAD = """# Error messages

Generated from the code by `scripts/docs`. Do not edit.

Every message is one line. Words in braces stand for values.

- **Exit**: exit status of the command line.
- **HTTP**: status of the gateway's response, for packages that the gateway uses.
- Errors of Python itself (`ValueError`, `TypeError`, `RuntimeError`) come from the Python API only,
  or are part of another message.
- Warnings are lines on standard error, log lines, notes in a trace or Python warnings. They do not
  end a run.

The command line also reports flags that do not exist, missing arguments and values of a
wrong type, with exit status 2.
"""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        module: Name of the module.
        line: Line of the source.
        text: The message, with values in braces.
        kind: Class of the error, or "warning".
        http: Status of the gateway's response, if the source names it.
    """

    module: str
    line: int
    text: str
    kind: str
    http: str = ""


def classes(trees: Mapping[str, ast.Module]) -> dict[str, tuple[str, ...]]:
    """Return the error classes of dreamr with their bases, the closest first."""
    bases = {
        node.name: [name for base in node.bases if (name := _called(base))]
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }

    def line(name: str) -> tuple[str, ...]:
        parents = [parent for parent in bases.get(name, []) if parent in bases]
        return (name, *(above for parent in parents for above in line(parent)))

    return {name: line(name) for name in bases if BASE in line(name)}


def messages(trees: Mapping[str, ast.Module]) -> list[Message]:
    """Return every message, sorted by module and line."""
    errors = classes(trees)
    found = [one for module, tree in trees.items() for one in _of_module(module, tree, errors)]
    return sorted(set(found), key=lambda one: (one.module, one.line, one.text))


def _of_module(
    module: str, tree: ast.Module, errors: Mapping[str, tuple[str, ...]]
) -> Iterator[Message]:
    for nodes in _scopes(tree):
        named = _assigned(nodes)
        for node in nodes:
            if isinstance(node, ast.Call):
                yield from _of_call(module, node, errors, named)


def _of_call(
    module: str,
    call: ast.Call,
    errors: Mapping[str, tuple[str, ...]],
    named: Mapping[str, list[ast.expr]],
) -> Iterator[Message]:
    name = _called(call.func)
    kind = MAKERS.get(name, name)
    if name == "Conflict":
        kind = "BadOption"
    elif name == "error":  # of self: the class is given to a helper
        kind = BASE if ast.unparse(call.func) == "self.error" else USAGE
    http = ""
    if name == "bad_request":
        http = "400"
    elif kind == "ApiError" and call.args and isinstance(call.args[0], ast.Constant):
        http = str(call.args[0].value)
    if name == "Unused" and len(call.args) > 2:
        texts = _texts(call.args[2], named)
        yield from (
            Message(module, call.lineno, f"warning: {{flag}} has no effect {text}", "warning")
            for text in texts
        )
        return
    if name in WARNINGS:
        kind = "warning"
    elif kind not in (*errors, *BUILTIN, USAGE):
        return
    for argument in (*call.args, *(k.value for k in call.keywords if k.arg == "message")):
        texts = list(_texts(argument, named))
        for text in texts:
            text = re.sub(r"%[srd]", "{value}", text)
            yield Message(module, call.lineno, text, kind, http)
        if texts:
            return


def _texts(node: ast.expr, named: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    """Yield the message of an expression, or several if the expression has alternatives."""
    match node:
        case ast.Constant(value=str(text)) if " " in text:
            yield text
        case ast.JoinedStr():
            text = "".join(_piece(part) for part in node.values)
            if " " in re.sub(r"\{[^}]*\}", "", text).strip():
                yield text
        case ast.IfExp():
            yield from _texts(node.body, named)
            yield from _texts(node.orelse, named)
        case ast.BinOp(op=ast.Add()):
            left, right = (list(_texts(side, named)) for side in (node.left, node.right))
            if left or right:
                yield "".join((left or ["{...}"])[:1] + (right or ["{...}"])[:1])
        case ast.Name() if node.id in named:
            for value in named[node.id]:
                yield from _texts(value, {})


def _piece(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return "{" + _value_name(part.value) + "}"


def _value_name(node: ast.expr) -> str:
    """Return a short name for a value in a message."""
    match node:
        case ast.Name():
            return node.id.lstrip("_")
        case ast.Attribute():
            return node.attr.lstrip("_")
        case ast.Call(func=ast.Attribute(attr="join"), args=[first]):
            return "list" if not isinstance(first, ast.Name) else first.id.lower().lstrip("_")
        case ast.Call(args=[first, *_]) if not isinstance(first, ast.Constant):
            return _value_name(first)
        case ast.Call():
            return _called(node.func).lstrip("_") or "value"
        case ast.Subscript():
            return _value_name(node.value)
        case _:
            return "value"


def _called(node: ast.expr) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case _:
            return ""


def _scopes(tree: ast.Module) -> Iterator[list[ast.AST]]:
    """Yield the nodes of the module and of each function, without those of functions inside."""
    scopes: list[ast.AST] = [tree]
    while scopes:
        nodes, left = [], _children(scopes.pop())
        while left:
            node = left.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                scopes.append(node)
            else:
                nodes.append(node)
                left += _children(node)
        yield nodes


def _children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes directly inside of a node, the last first."""
    return list(ast.iter_child_nodes(node))[::-1]


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def page(trees: Mapping[str, ast.Module] | None = None) -> str:
    """Return the page as Markdown."""
    trees = read_sources() if trees is None else trees
    errors = classes(trees)
    groups: dict[str, list[Message]] = {}
    for message in messages(trees):
        groups.setdefault(_package(message.module), []).append(message)
    parts = [HEAD]
    for package, found in sorted(groups.items()):
        parts += [f"## {package}", "", "| message | class | exit | HTTP |", "|---|---|---|---|"]
        rows = dict.fromkeys(_row(package, message, errors) for message in found)
        parts += [*rows, ""]
    return "\n".join(parts)


def _row(package: str, message: Message, errors: Mapping[str, tuple[str, ...]]) -> str:
    text = " ".join(message.text.split()).replace("|", "\\|")
    line = errors.get(message.kind, ())
    exit_status = ("2" if "BadOption" in line else "1") if line else ""
    if message.kind == USAGE:
        exit_status = "2"
    elif "ApiError" in line:
        exit_status = ""
    reached = not any(part in NO_GATEWAY for part in package.split("."))
    http = message.http or (_http(line) if reached and message.kind not in NO_RESPONSE else "")
    return f"| `` {text} `` | {message.kind} | {exit_status} | {http} |"


def _http(line: tuple[str, ...]) -> str:
    """Return the status of an error by its classes, as `dreamr.serving.gateway.errors` does."""
    if not line or "ApiError" in line:
        return ""
    bad_requests = {"ContextTooLong", "ConversationError", "BadOption", "Unsupported"}
    if bad_requests.intersection(line):
        return "400"
    return "503" if "EngineLost" in line else "502"


def _package(module: str) -> str:
    parts = module.split(".")
    depth = 3 if parts[1:2] and parts[1] in ("engines", "serving", "evaluation") else 2
    return ".".join(parts[:depth] if len(parts) > depth else parts[:-1])


def read_sources() -> dict[str, ast.Module]:
    """Return the syntax trees of all modules by their names."""
    trees = {}
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            trees[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


if __name__ == "__main__":
    print(page(), end="")
