"""docs/guides/benchmarks.md says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dreamr.evaluation.tasks import BENCHMARKS, known_tasks
from dreamr.evaluation.tasks.public.prompts import LETTER, VALUE, WORDS, request

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "guides" / "benchmarks.md").read_text(encoding="utf-8")


def test_its_python_compiles_and_its_imports_exist() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    compile(code, "benchmarks.md", "exec")
    exec("\n".join(line for line in code.splitlines() if line.startswith("from ")), {})


@pytest.mark.parametrize("task", known_tasks())
def test_every_task_is_named(task: str) -> None:
    assert f"`{task}`" in PAGE


@pytest.mark.parametrize("task", BENCHMARKS)
def test_it_says_where_the_files_of_a_benchmark_are(task: str) -> None:
    origin = BENCHMARKS[task].origin
    assert any(f"| `{task}` | `{origin.repo}` | `{pattern}`" in PAGE for pattern in origin.patterns)


def test_it_says_what_is_asked() -> None:
    assert f"> {request(LETTER)}" in PAGE
    assert f'"{VALUE}"' in PAGE
    assert f'"{WORDS}"' in PAGE


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / "guides" / link).exists(), link
