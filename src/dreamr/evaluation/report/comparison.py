"""Comparison of several benches: a table of their figures and of their differences in setup."""

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

# Fields of a session that figures may depend on, unlike its time and command.
_MACHINE = frozenset({"commit", "processor", "cores", "changed", "models", "packages", "dtypes"})


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench to compare.

    Attributes:
        name: Folder of the bench.
        results: Its figures.
        problems: Its problems, see `Sample.problem`; None if only figures were kept.
        conditions: Configuration and provenance that should be equal in all benches.
    """

    name: str
    results: Results
    problems: frozenset[tuple[str, str]] | None
    conditions: Mapping[str, str]


def compare(folders: Sequence[Path]) -> Table:
    """Return a table with a row per task, method and concurrency, and a column per folder.

    Cells of all folders except the first contain the difference to the first. The caption lists
    differences in problems and configuration.

    Raises:
        ReportError: If there is no folder, or a folder without a bench.
    """
    if not folders:
        raise ReportError("name the folders of the benches to compare")
    return side_by_side([load_bench(folder) for folder in folders])


def load_bench(folder: Path) -> Bench:
    """Read a bench from its samples, or from results.json if the samples were not kept.

    Raises:
        ReportError: If the folder has no bench or cannot be read.
    """
    kept = (folder / SAMPLES).exists() or not (folder / RESULTS).exists()
    samples = load_samples(folder) if kept else []
    results = figures(samples) if kept else load_results(folder)
    problems = frozenset(s.problem for s in samples) if kept else None
    return Bench(str(folder), results, problems, _conditions(load_provenance(folder)))


def _conditions(provenance: Provenance) -> dict[str, str]:
    session: Mapping[str, Any] = provenance.sessions[-1] if provenance.sessions else {}
    machine = {key: value for key, value in session.items() if key in _MACHINE}
    return dict(flat({**provenance.config, **machine}))


def side_by_side(benches: Sequence[Bench]) -> Table:
    """Return the table of `compare` for benches that are already read."""
    table = Table(
        title="Accuracy (%) and speed-up [95 % interval] (difference to the first bench)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for head in ("task", "method", "concurrency"):
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
    """Return one line for each difference in setup between a bench and the first."""
    lines = []
    first = benches[0]
    for other in benches[1:]:
        lines += _problems(first, other)
        if not (first.conditions and other.conditions):
            lines.append(
                f"{other.name}: its setup cannot be compared with {first.name}: not recorded"
            )
            continue
        for name in dict.fromkeys((*first.conditions, *other.conditions)):
            was, now = (bench.conditions.get(name, "not recorded") for bench in (first, other))
            if was != now:
                lines.append(f"{other.name}: {name} is {now}; in {first.name} it is {was}")
    return lines


def _problems(first: Bench, other: Bench) -> list[str]:
    if first.problems is None or other.problems is None:
        return [f"{other.name}: its problems cannot be compared with {first.name}: no samples"]
    if first.problems == other.problems:
        return []
    return [
        f"{other.name}: {len(other.problems)} problems; {first.name} has {len(first.problems)}, "
        f"and {len(first.problems & other.problems)} are in both"
    ]


def _keys(benches: Sequence[Bench]) -> list[Key]:
    """Return the keys of all benches; the mean comes last, next to the terminal's prompt."""
    keys = {key for bench in benches for key in bench.results.cells}
    return sorted(keys, key=lambda key: (key[0] == MEAN, key[0], key[2], *rank(key[1])))


def _cell(found: Figures | None, first: Figures | None) -> str:
    if found is None:
        return "-"
    lines = [_against(found.accuracy, first.accuracy if first else None, percent, 100, "+.1f")]
    if found.speedup is not None:
        lines.append(_against(found.speedup, first.speedup if first else None, times, 1, "+.2f"))
    elif found.throughput is not None:
        lines.append(f"{found.throughput:.2f} problems/s")
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
