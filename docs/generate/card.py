"""Write the tables of the model card of the bundled pair from the committed results files.

    python docs/generate/card.py

In the card, `<!-- table: NAME -->` stands before each table. The rest is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tables.figures import RESULTS, SUITES, grid, percent

PAIR = Path(__file__).parents[2] / "testbed" / "src" / "dreamr_testbed" / "pair"
CARD = PAIR / "README.md"
TABLE = re.compile(r"(<!-- table: (\S+) -->\n\n)(?:\|.*\n)*")
Row = Mapping[str, Any]  # what was measured of a model or a judge
Figures = Mapping[str, Mapping[str, Row]]  # by suite, then by model or judge
Column = tuple[str, Figures, str]  # heading, figures, model

MODELS = ("target", "draft")
SINGLE = "results.json"
BEFORE = "results-before-sapo.json"
SEVERAL = "results-multi-image.json"
HARD = "results-multi-image-hard.json"


@cache
def load(path: Path) -> Figures:
    """Read the figures of a results file."""
    found: Figures = json.loads(path.read_text("utf-8"))["figures"]
    return found


def single() -> tuple[Column, ...]:
    """Return the columns of the models for one image."""
    after, before = load(PAIR / SINGLE), load(PAIR / BEFORE)
    return (*((name, after, name) for name in MODELS), ("draft-before-sapo", before, "draft"))


def several(file: str = SEVERAL, hard: str | None = HARD) -> tuple[Column, ...]:
    """Return the columns of the models for several images."""
    found = dict(load(PAIR / file))
    if hard:
        found |= {f"{suite}, level 1": row for suite, row in load(PAIR / hard).items()}
    return tuple((name, found, name) for name in MODELS)


def accuracy(found: Row) -> str:
    """Return the share of right answers with its interval."""
    return f"{percent(found['accuracy'])} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def answers(columns: Sequence[Column]) -> Iterable[str]:
    """Yield a table of right answers by suite."""
    suites = columns[0][1]
    rows = ([s, *(accuracy(found[s][model]) for _, found, model in columns)] for s in suites)
    return grid(["suite", *(head for head, _, _ in columns)], rows)


def tokens(columns: Sequence[Column]) -> Iterable[str]:
    """Yield a table of the mean tokens of a solution by suite."""
    suites = columns[0][1]
    rows = (
        [s, *(f"{found[s][model]['tokens']:.0f}" for _, found, model in columns)] for s in suites
    )
    return grid(["suite", *(head for head, _, _ in columns)], rows)


def kinds(columns: Sequence[Column], skipped: Sequence[str] = ()) -> Iterable[str]:
    """Yield a table of right answers by suite and kind of question."""
    return _parts(columns, "kind", "", skipped)


def levels(columns: Sequence[Column], skipped: Sequence[str] = ()) -> Iterable[str]:
    """Yield a table of right answers by suite and level."""
    return _parts(columns, "level", "level ", skipped)


def _parts(
    columns: Sequence[Column], part: str, before: str, skipped: Sequence[str]
) -> Iterable[str]:
    suites = [suite for suite in columns[0][1] if suite not in skipped]
    rows = (
        [
            f"{suite}, {before}{name}",
            *(percent(found[suite][model][f"{part}s"][name]) for _, found, model in columns),
        ]
        for suite in suites
        for name in columns[0][1][suite][MODELS[0]][f"{part}s"]
    )
    return grid([f"suite and {part}", *(head for head, _, _ in columns)], rows)


def judged(found: Figures, judges: Sequence[str] = ("judge",)) -> Iterable[str]:
    """Yield a table of a judge on steps that a draft wrote, or of several prompts."""
    prompts = len(judges) > 1
    head = ["steps", "wrong steps", "AUROC", "accepted", "false accepts", "false rejects"]
    rows = (
        [
            f"{judge}, {suite}" if prompts else suite,
            f"{row[judge]['steps']:,}",
            str(row[judge]["wrong"]),
            f"{row[judge]['auroc']:.3f}",
            *(percent(row[judge][name.replace(" ", "_")]) for name in head[3:]),
        ]
        for judge in judges
        for suite, row in found.items()
    )
    return grid(["prompt and suite" if prompts else "suite", *head], rows)


def accepted_steps() -> Iterable[str]:
    """Yield the table of what the target accepts of either draft alone."""
    names = {"draft-before-sapo": "before", "draft": "after"}
    found = [load(RESULTS / "sapo" / f"{name}.json") for name in names.values()]
    rows: list[tuple[str, str, str, Callable[[float], str]]] = [
        *((f"steps accepted, {suite}", suite, "acceptance", percent) for suite in SUITES),
        ("steps accepted, mean", "mean", "acceptance", percent),
        ("answers without a rejected step, mean", "mean", "clean", percent),
        ("right answers, mean", "mean", "right", percent),
        ("tokens of a solution, mean", "mean", "tokens", "{:.1f}".format),
    ]
    lines = ([label, *(form(f[suite][key]) for f in found)] for label, suite, key, form in rows)
    return grid(["figure", *names], lines)


def named_pages() -> Iterable[str]:
    """Yield the table of pages below the name of a file, for the target before and now."""
    files = {"target before `several-weak`": "before", "target": "after"}
    found = {
        name: load(RESULTS / "file-names" / f"{file}.json")["pages"] for name, file in files.items()
    }
    rows = [[name, accuracy(row["target"])] for name, row in found.items()]
    return grid(["model", "right answers"], [*rows, ["draft", accuracy(found["target"]["draft"])]])


def blind() -> Iterable[str]:
    """Yield the table of a draft that sees no images."""
    found = load(RESULTS / "blind.json")
    rows = ([suite, accuracy(row["draft"])] for suite, row in found.items())
    return grid(["suite", "right answers"], rows)


TABLES: Mapping[str, Callable[[], Iterable[str]]] = {
    "answers": lambda: answers(single()),
    "kinds": lambda: kinds(single()),
    "tokens": lambda: tokens(single()),
    "judge": lambda: judged(load(PAIR / SINGLE)),
    "judge-before": lambda: judged(load(PAIR / BEFORE)),
    "multi-answers": lambda: answers(several()),
    "multi-tokens": lambda: tokens(several()),
    "multi-kinds": lambda: kinds(several(), SUITES),
    "multi-levels": lambda: levels(several(hard=None), SUITES),
    "multi-judge": lambda: judged(several()[0][1]),
    "multi-clean": lambda: answers(several("results-multi-image-clean.json", None)),
    "multi-named": named_pages,
    "prompts": lambda: judged(load(PAIR / BEFORE), ("score", "same")),
    "accepted": accepted_steps,
    "blind": blind,
}


def card(text: str) -> str:
    """Return the card with its tables made again.

    Raises:
        SystemExit: If a table is in the card or here alone.
    """
    named = [name for _, name in TABLE.findall(text)]
    if sorted(named) != sorted(TABLES):
        raise SystemExit(f"tables of {CARD} differ: {', '.join(sorted({*named} ^ {*TABLES}))}")

    def table(match: re.Match[str]) -> str:
        return match[1] + "\n".join(TABLES[match[2]]()) + "\n"

    return TABLE.sub(table, text)


if __name__ == "__main__":
    CARD.write_text(card(CARD.read_text("utf-8")), "utf-8")
