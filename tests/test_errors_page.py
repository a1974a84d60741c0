"""The page of all error messages is current, and the messages have the agreed form."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

GENERATOR = Path(__file__).parents[1] / "docs" / "generate" / "errors.py"
PYTHON_WORDS = re.compile(r"\bValue error\b|\bNoneType\b|\bTraceback\b|\bself\.")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_errors", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources(generator: ModuleType) -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = generator.read_sources()
    return found


def test_the_page_is_up_to_date(generator: ModuleType, sources: dict[str, ast.Module]) -> None:
    page = generator.page(sources)
    assert generator.PAGE.read_text(encoding="utf-8") == page, "run scripts/docs"


def test_messages_are_lower_case_without_a_final_period(
    generator: ModuleType, sources: dict[str, ast.Module]
) -> None:
    wrong = []
    for message in generator.messages(sources):
        first = message.text.split()[0]
        name = first[0] in "-{" or not first.isalpha() or first in NAMES
        if message.kind == "warning":  # lines of the log begin with a capital letter
            name = True
        if not (name or first.islower()) or message.text.endswith("."):
            wrong.append(f"{message.module}:{message.line}: {message.text}")
        if PYTHON_WORDS.search(message.text):
            wrong.append(f"{message.module}:{message.line}: {message.text}")
    assert not [line for line in wrong if not line.endswith("...")], "\n".join(wrong)


NAMES = {"TRL"}  # proper names at the start of a message


SOURCE = """
class DreamrError(Exception): ...
class BadOption(DreamrError): ...
def f(flag, value):
    why = f"no {value}" if value else "nothing at all"
    raise BadOption(f"{flag} must be set: " "say more")
def g(value):
    text = f"{value} is wrong"
    raise BadOption(text)
def h(state):
    state.warn("it goes slowly")
"""


def test_messages_are_collected_with_their_classes(generator: ModuleType) -> None:
    trees = {"dreamr.some": ast.parse(SOURCE)}
    found = [(one.text, one.kind) for one in generator.messages(trees)]
    assert found == [
        ("{flag} must be set: say more", "BadOption"),
        ("{value} is wrong", "BadOption"),
        ("it goes slowly", "warning"),
    ]
    page = generator.page(trees)
    assert "| `` {flag} must be set: say more `` | BadOption | 2 | 400 |" in page
