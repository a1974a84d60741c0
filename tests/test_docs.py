from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dreamr.cli.app import build_app

ROOT = Path(__file__).parents[1]


PAGES = ["README.md"] + [
    str(p.relative_to(ROOT))
    for p in sorted((ROOT / "docs").rglob("*.md"))
    if "generate" not in p.parts
]
WITH_COMMANDS = ("bench", "train")


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


OURS = [(page, code) for page in PAGES for code in blocks("python", page) if "from dreamr" in code]


@pytest.mark.parametrize(("page", "code"), OURS, ids=[page for page, _ in OURS])
def test_python_in_the_pages_imports_what_exists_and_calls_it_with_known_arguments(
    page: str, code: str
) -> None:
    compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    imported: dict[str, Any] = {}
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), imported)
    for call in ast.walk(ast.parse(code)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) in imported:
            given = {keyword.arg: None for keyword in call.keywords if keyword.arg is not None}
            inspect.signature(imported[call.func.id]).bind(*call.args, **given)


def commands(page: str) -> list[str]:
    """The commands of a page, in blocks and in sentences, each in one line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = " ".join(blocks("sh", page)).replace("\\\n", " ").splitlines()
    lines += [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    return [line for line in lines if re.match(r"dreamr [a-z]", line)]


WITH_COMMANDS_PAGES = [page for page in PAGES if commands(page)]


@pytest.mark.parametrize("page", WITH_COMMANDS_PAGES)
def test_flags_in_the_pages_exist(page: str) -> None:
    for line in commands(page):
        name, *rest = line.split()[1:]
        subcommand = rest[:1] if name in WITH_COMMANDS else []
        arguments = [name, *subcommand, "--help"]
        shown = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "200"}).output
        for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line.partition("#")[0]):
            assert flag in shown, line


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
