from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dreamr.cli.app import build_app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = sorted(p.parent.name for p in (ROOT / "src" / "dreamr").glob("*/__init__.py"))


PAGES = ["README.md", "docs/training.md"]
WITH_COMMANDS = ("bench", "train")


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_readme_compiles_and_its_imports_exist(code: str) -> None:
    compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), {})


@pytest.mark.parametrize("page", PAGES)
def test_flags_in_the_pages_exist(page: str) -> None:
    lines = " ".join(blocks("sh", page)).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("dreamr ")]
    assert commands
    for line in commands:
        name, sub = line.split()[1:3]
        command = [name, sub] if name in WITH_COMMANDS else [name]
        shown = CliRunner().invoke(build_app(), [*command, "--help"], env={"COLUMNS": "200"}).output
        for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line.partition("#")[0]):
            assert flag in shown, line


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_in_the_readmes_tree(room: str) -> None:
    assert re.search(rf"^  {room}/ +\w", README, re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, "docs/architecture.md", "CHANGELOG.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
