"""Figures of several benches side by side, with what differs in how they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from dreamr.evaluation.bench import SAMPLES
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.columns import percent, times
from dreamr.evaluation.report.methods import rank
from dreamr.evaluation.report.page import (
    RESULTS,
    Provenance,
    ReportError,
    flat,
    load_provenance,
    load_results,
    load_samples,
)
from dreamr.evaluation.report.results import MEAN, Figures, Key, Results
from dreamr.evaluation.report.statistics import Estimate

# Of a session, what a figure may depend on; not when it was or how it was called.
_MACHINE = frozenset({"commit", "processor", "cores", "changed", "models", "packages"})


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench to compare. problems: of each task, None where only figures were kept.

    conditions: configuration and provenance that should be the same.
    """

    name: str
    results: Results
    problems: frozenset[tuple[str, int]] | None
    conditions: Mapping[str, str]


def compare(folders: Sequence[Path]) -> Table:
    """A table with a row for each task, method and concurrency, and a column for each folder.

    Behind the figures of all but the first stands their difference to it; under the table, what
    differs in problems and configuration.

    Raises:
        ReportError: no folder, or one without a bench.
    """
    if not folders:
        raise ReportError("name the folders of the benches to compare")
    return side_by_side([load_bench(folder) for folder in folders])


def load_bench(folder: Path) -> Bench:
    """Read a folder; its results.json only where the samples were not kept.

    Raises:
        ReportError: there is no bench, or it cannot be read.
    """
    kept = (folder / SAMPLES).exists() or not (folder / RESULTS).exists()
    samples = load_samples(folder) if kept else []
    results = figures(samples) if kept else load_results(folder)
    problems = frozenset((s.task, s.index) for s in samples) if kept else None
    return Bench(str(folder), results, problems, _conditions(load_provenance(folder)))


def _conditions(provenance: Provenance) -> dict[str, str]:
    session: Mapping[str, Any] = provenance.sessions[-1] if provenance.sessions else {}
    machine = {key: value for key, value in session.items() if key in _MACHINE}
    return dict(flat({**provenance.config, **machine}))


def side_by_side(benches: Sequence[Bench]) -> Table:
    """The table of `compare`."""
    table = Table(
        title="Accuracy (%) and speed-up, 95 % intervals in brackets, difference to the first",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for head in ("task", "method", "at a time"):
        table.add_column(head, no_wrap=True)
    for bench in benches:
        table.add_column(escape(bench.name), justify="right")
    first = benches[0].results.cells
    keys = _keys(benches)
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        cells = [bench.results.cells.get(key) for bench in benches]
        texts = [_cell(cells[0], None), *(_cell(cell, first.get(key)) for cell in cells[1:])]
        table.add_row(
            *map(escape, map(str, key)),
            *map(escape, texts),
            end_section=key[0] != (after and after[0]),
        )
    table.caption = "\n".join(map(escape, differences(benches)))
    table.caption_justify = "left"
    return table


def differences(benches: Sequence[Bench]) -> list[str]:
    """One line for each thing in which a bench is not like the first."""
    lines = []
    first = benches[0]
    for other in benches[1:]:
        lines += _problems(first, other)
        if not (first.conditions and other.conditions):
            lines.append(f"{other.name}: not known whether it was run like {first.name}")
            continue
        for name in dict.fromkeys((*first.conditions, *other.conditions)):
            was, now = (bench.conditions.get(name, "not recorded") for bench in (first, other))
            if was != now:
                lines.append(f"{other.name}: {name} is {now}, in {first.name} {was}")
    return lines


def _problems(first: Bench, other: Bench) -> list[str]:
    if first.problems is None or other.problems is None:
        return [f"{other.name}: whether the problems are the same is not known without the samples"]
    if first.problems == other.problems:
        return []
    return [
        f"{other.name}: other problems than in {first.name}, {len(other.problems)} against "
        f"{len(first.problems)}, {len(first.problems & other.problems)} of them in both"
    ]


def _keys(benches: Sequence[Bench]) -> list[Key]:
    """Of all benches; the mean last, where a terminal shows it."""
    keys = {key for bench in benches for key in bench.results.cells}
    return sorted(keys, key=lambda key: (key[0] == MEAN, key[0], key[2], *rank(key[1])))


def _cell(found: Figures | None, first: Figures | None) -> str:
    if found is None:
        return "-"
    lines = [_against(found.accuracy, first.accuracy if first else None, percent, 100, "+.1f")]
    if found.speedup is not None:
        lines.append(_against(found.speedup, first.speedup if first else None, times, 1, "+.2f"))
    elif found.throughput is not None:
        lines.append(f"{found.throughput:.2f} problems a second")
    return "\n".join(lines)


def _against(
    own: Estimate,
    first: Estimate | None,
    text: Callable[[Estimate], str],
    scale: float,
    form: str,
) -> str:
    shown = text(own)
    return shown if first is None else f"{shown} ({scale * (own.value - first.value):{form}})"
