"""The pages agree with the code and with each other."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dreamr.cli.app import build_app
from support.scripts import run_script

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(path.name for path in sorted(ROOT.glob("*.md"))),
    *(str(p.relative_to(ROOT)) for p in sorted(DOCS.rglob("*.md")) if "generate" not in p.parts),
    "plugins/lmms-eval/README.md",
    "testbed/src/dreamr_testbed/pair/README.md",
]
WITH_COMMANDS = ("bench", "deploy", "pair", "train")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.DOTALL)


def without_code(text: str) -> str:
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", text)


def test_the_readme_is_short_and_has_few_numerals() -> None:
    text = without_code(README)
    assert 600 <= len(text.split()) <= 800
    assert len(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"`[^`]*`", "", text))) <= 20


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
    lines = "".join(blocks("sh", page)).replace("\\\n", " ").splitlines()
    lines += [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", read(page))]
    return [line for line in lines if re.match(r"dreamr [a-z]", line)]


FLAG = r"(?<![\w-])--?[a-z][a-z-]*"


@cache
def flags_of(*command: str) -> set[str]:
    shown = CliRunner().invoke(build_app(), [*command, "--help"], env={"COLUMNS": "200"}).output
    return set(re.findall(FLAG, shown))


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_flags_in_the_pages_exist(page: str) -> None:
    for line in commands(page):
        name, *rest = line.split()[1:]
        subcommand = rest[:1] if name in WITH_COMMANDS else []
        flags = re.findall(FLAG, line.partition("#")[0])
        assert set(flags) <= flags_of(name, *subcommand), line


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    for link, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]*))?\)", text):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("name", ["results"])
def test_a_generated_page_is_current(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_script(DOCS / "generate" / f"{name}.py")
    made = capsys.readouterr().out
    assert made == (DOCS / f"{name}.md").read_text(encoding="utf-8"), "scripts/docs"


NUMBER = re.compile(r"(?<![\w.,:/-])\d+(?:[.,]\d+)*(?![\w.,]*\w)")
SMALL = 20
GUIDES = ["README.md", "docs/index.md", "docs/quickstart.md"]
GUIDES += [page for page in PAGES if page.startswith("docs/guides/")]


def numbers(text: str) -> set[str]:
    """The numbers of a text that are more than small integers."""
    found = NUMBER.findall(re.sub(r"`[^`]*`|arXiv [\d.]+", "", text))
    return {number for number in found if not (number.isdigit() and int(number) <= SMALL)}


def names_a_file(section: str) -> bool:
    paths = re.findall(r"benchmarks/[\w./-]+", section)
    return any((ROOT / path.rstrip("./")).exists() for path in paths)


@pytest.mark.parametrize("page", GUIDES)
def test_a_number_stands_in_the_results_or_the_reference_or_names_its_file(page: str) -> None:
    sources = [DOCS / "results.md", *(DOCS / "reference").glob("*.md")]
    known = {n for source in sources for n in NUMBER.findall(source.read_text("utf-8"))}
    unknown = {
        number
        for section in re.split(r"^#+ ", read(page), flags=re.MULTILINE)
        if not names_a_file(section)
        for number in numbers(without_code(section)) - known
    }
    assert not unknown


def test_each_bench_of_the_pages_has_a_folder_of_its_own() -> None:
    """A reader who follows several pages in one folder is not refused for another configuration."""
    benches = {line for page in GUIDES for line in commands(page) if "bench run" in line}
    folders = [found[1] for line in benches if (found := re.search(r" --out (\S+)", line))]
    assert len(folders) > 1
    assert len(folders) == len(set(folders))
