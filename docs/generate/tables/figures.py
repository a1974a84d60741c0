"""Figures of results files, and how a table shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
SUITES = ("docmath", "story", "vqa")
Figure = Mapping[str, Any]
Table = Callable[[], Iterable[str]]


@cache
def load(file: str) -> Any:
    """Read a results file, or the results of a bench folder."""
    path = RESULTS / file
    return json.loads((path / "results.json" if path.is_dir() else path).read_text("utf-8"))


def machine(file: str) -> str:
    """Return processor and cores of a results file."""
    path = RESULTS / file
    found = load(str(Path(file) / "after.json") if file == "sapo" else file)["provenance"]
    first = found[0] if isinstance(found, list) else found
    name = first["processor"].replace("(R)", "").replace("Processor @ ", "")
    return f"{name}, {first.get('cores', 2)} cores" if path else name


def means(file: str, concurrency: int = 1) -> dict[str, Figure]:
    """Return the figures of each method of a bench, averaged over its suites."""
    return {
        figure["method"]: figure
        for figure in load(file)["figures"]
        if figure["task"] == "mean" and figure["concurrency"] == concurrency
    }


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yield the lines of a Markdown table; all columns but the first are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|--:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def interval(value: Figure | None, digits: int = 2, scale: float = 1, sign: str = "") -> str:
    """Return a value with its 95 % interval."""
    if not value:
        return ""
    middle, low, high = (scale * value[name] for name in ("value", "low", "high"))
    return f"{middle:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def percent(value: float | Figure | None, digits: int = 1) -> str:
    """Return a share in percent."""
    if value is None:
        return ""
    return f"{100 * (value if isinstance(value, int | float) else value['value']):.{digits}f} %"


def plain(value: float | None) -> str:
    """Return a number with two digits."""
    return "" if value is None else f"{value:.2f}"


def counted(text: str) -> str:
    """Return a count with its noun, which is given in the plural, as English has it."""
    return text.removesuffix("s") if text.startswith("1 ") else text
