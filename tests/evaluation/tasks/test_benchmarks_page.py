"""docs/guides/benchmarks.md names every task and its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.evaluation.tasks import BENCHMARKS, known_tasks
from dreamr.evaluation.tasks.public.prompts import LETTER, VALUE, WORDS, request

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "guides" / "benchmarks.md").read_text(encoding="utf-8")


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
