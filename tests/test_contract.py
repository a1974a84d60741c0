"""Who may import whom: the contract is the table in docs/design/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dreamr"
PAGE = ROOT / "docs" / "design" / "architecture.md"
ROW = re.compile(r"^\| (`[^|]+`) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
DIVIDED = ("serving", "evaluation")  # their packages are rooms of their own


def modules() -> dict[str, Path]:
    names = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("dreamr", *path.relative_to(SOURCE).with_suffix("").parts)
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of dreamr that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inner & known.keys() or {node.module}


def room(module: str) -> str:
    parts = module.split(".")[1:3]
    return ".".join(parts if parts and parts[0] in DIVIDED else parts[:1]) or "dreamr"


def contract() -> dict[str, set[str]]:
    table = PAGE.read_text(encoding="utf-8")
    rows: dict[str, set[str]] = {}
    for names, allowed in ROW.findall(table):
        for name in re.findall(r"`([\w.]+)`", names):
            rows[name] = set(re.findall(r"`([\w.]+)`", allowed))
    return rows


def shared(rows: dict[str, set[str]]) -> set[str]:
    """The helpers that every room may import."""
    return rows["everything"]


@pytest.mark.parametrize("name", sorted({room(module) for module in modules()}))
def test_a_room_imports_no_more_than_the_table_allows(name: str) -> None:
    rows, known = contract(), modules()
    files = [path for module, path in known.items() if room(module) == name]
    found = {room(other) for path in files for other in imports(path, known)} - {name}
    allowed = rows[name] | shared(rows)
    assert found <= allowed, f"{name} must not import {sorted(found - allowed)}"
    unused = rows[name] - found
    assert not unused, f"{name} does not import {sorted(unused)}: take it out of {PAGE.name}"


def test_nothing_imports_in_a_circle() -> None:
    known = modules()
    graph = {module: set(imports(path, known)) - {module} for module, path in known.items()}
    assert len(graph) > 100
    tuple(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("folder", ["testbed/src", "plugins"])
def test_other_distributions_import_nothing_private(folder: str) -> None:
    files, known = list((ROOT / folder).rglob("*.py")), modules()
    assert files
    found = {str(path.relative_to(ROOT)): set(imports(path, known)) for path in files}
    public = {name for name, path in known.items() if path.stem == "__init__"} | {"dreamr.errors"}
    private = {path: sorted(names - public) for path, names in found.items() if names - public}
    assert private == {}
