"""No function and no file is longer than a reader can hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "testbed/src")
OTHERS = (
    "benchmarks",
    "conformance",
    "docs/generate",
    "examples",
    "plugins",
    "scripts",
    "testbed/tests",
    "tests",
)
MOST_FUNCTION_LINES = 60
MOST_FILE_LINES = 400


def modules(source: str) -> Iterator[tuple[str, str]]:
    """Names and texts of all modules."""
    for path in sorted((ROOT / source).rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def long_functions(text: str, most: int) -> Iterator[str]:
    """Functions of more lines, from `def` to their end."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > most:
                yield f"{node.name} (line {node.lineno}): {lines} lines"


@pytest.mark.parametrize("source", [*SOURCES, *OTHERS])
def test_functions_are_short(source: str) -> None:
    found = [
        f"{name}: {one}"
        for name, text in modules(source)
        for one in long_functions(text, MOST_FUNCTION_LINES)
    ]
    assert not found, f"functions over {MOST_FUNCTION_LINES} lines:\n" + "\n".join(found)


@pytest.mark.parametrize("source", [*SOURCES, *OTHERS])
def test_files_are_short(source: str) -> None:
    sizes = {name: len(text.splitlines()) for name, text in modules(source)}
    assert sizes, f"{source} holds no module"
    found = [f"{name}: {lines} lines" for name, lines in sizes.items() if lines > MOST_FILE_LINES]
    assert not found, f"files over {MOST_FILE_LINES} lines:\n" + "\n".join(found)


def test_a_long_function_is_named() -> None:
    text = "class Outer:\n    async def inner(self):\n        a = 1\n        b = 2\n"
    assert list(long_functions(text, 2)) == ["inner (line 2): 3 lines"]
    assert not list(long_functions(text, 3))


def test_conformance_tests_bear_the_marker_of_tests_with_servers() -> None:
    tests = {name: text for name, text in modules("conformance") if "/test_" in name}
    assert tests
    assert [name for name, text in tests.items() if "pytest.mark.server" not in text] == []
