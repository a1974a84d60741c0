"""A bench's folder: its samples are read, figures, pictures and a page are written beside them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr._files import replace_file, writing
from dreamr.errors import DreamrError, Unsupported
from dreamr.evaluation.bench import CONFIG, PROVENANCE, SAMPLES, Sample
from dreamr.evaluation.report import columns as _columns
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.columns import TextTable, percent, points, seconds, table, times
from dreamr.evaluation.report.lanes import charts
from dreamr.evaluation.report.plots import draw
from dreamr.evaluation.report.results import MEAN, Figures, Results
from dreamr.evaluation.report.step_plots import chosen
from dreamr.evaluation.simulator import ideal_seconds

if TYPE_CHECKING:
    from jinja2 import Template

RESULTS, REPORT = "results.json", "report.html"

_CAPTIONS = {
    "speedup-accuracy": "Speed-up against accuracy, with 95 % intervals. Right and up is better.",
    "risk": "What a gate risks for its speed: problems that the target alone solves and the method "
    "does not, with 95 % intervals. Right and down is better.",
    "speedup-tasks": "Speed-up in each task, with 95 % intervals. The dotted line is the target.",
    "acceptance": "What another threshold would have said of the steps that were judged here: "
    "how many it accepts, and which of them wrongly by the task's own checker.",
    "steps": "Tokens of the steps, by who wrote them and what became of them.",
    "latency": "Share of the problems that are solved by then. Left is better.",
    "concurrency": "Many problems side by side: throughput, and what each problem waits for.",
}


class ReportError(DreamrError):
    """A folder without samples, or whose files cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was run. config: as in config.yaml; sessions: what each of them ran with."""

    config: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]


def write_report(folder: Path) -> Path:
    """Make results.json, the pictures and report.html from samples.jsonl; each is replaced whole.

    The ideal that efficiency is measured against is the simulator's replay of the same traces.

    Args:
        folder: of a bench, finished or not.

    Returns:
        The page.

    Raises:
        ReportError: no samples there.
        Unwritable: the folder cannot be written.
        Unsupported: matplotlib, jinja2 or yaml is not installed.
    """
    samples, provenance = load_samples(folder), load_provenance(folder)
    results = figures(samples, ideal_seconds(samples))
    content = {**results.to_json(), "config": provenance.config, "provenance": provenance.sessions}
    with _extra():
        light, dark = draw(results, samples), draw(results, samples, dark=True)
        page = render(results, samples, provenance, {n: (light[n], dark[n]) for n in light})
    write_file(folder / RESULTS, json.dumps(content, indent=1).encode() + b"\n")
    for name, plot in light.items():
        write_file(folder / f"{name}.png", plot)
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def load_samples(folder: Path) -> list[Sample]:
    """All samples of a bench. A last line that was broken off is not one.

    Raises:
        ReportError: no samples there, or a line that is none; the message names it.
    """
    lines = _read(folder, SAMPLES).rstrip(b"\n").split(b"\n")
    samples: dict[object, Sample] = {}
    for number, line in enumerate(lines, 1):
        try:
            sample = Sample.from_line(line, number)
        except ValueError as error:
            if number == len(lines):
                break
            raise ReportError(f"{folder / SAMPLES}, {error}: remove it") from error
        samples[sample.key] = sample
    if not samples:
        raise ReportError(f"{folder / SAMPLES} holds no sample yet: let the bench run first")
    return list(samples.values())


def load_provenance(folder: Path) -> Provenance:
    """What the folder says about its making; empty where it says nothing.

    Raises:
        ReportError: a file that cannot be read.
        Unsupported: yaml is not installed.
    """
    with _extra():
        import yaml
    try:
        config = yaml.safe_load(_read(folder, CONFIG, b""))
        found = json.loads(_read(folder, PROVENANCE, b"[]"))
    except (yaml.YAMLError, ValueError) as error:
        raise ReportError(f"{folder}: {CONFIG} or {PROVENANCE} is broken: {error}") from error
    sessions = found if isinstance(found, list) else [found]
    return Provenance(config if isinstance(config, dict) else {}, sessions)


def load_results(folder: Path) -> Results:
    """The figures in results.json, where the samples were not kept.

    Raises:
        ReportError: it holds none.
    """
    try:
        return Results.from_json(json.loads(_read(folder, RESULTS)))
    except (ValueError, TypeError, KeyError) as error:
        raise ReportError(f"{folder / RESULTS} holds no figures of a bench: {error!r}") from error


def write_file(path: Path, content: bytes) -> None:
    """Replace a file in one go.

    Raises:
        Unwritable: it cannot be written.
    """
    with writing(path, "the samples are as before"):
        replace_file(path, content)


def render(
    results: Results,
    samples: Sequence[Sample],
    provenance: Provenance,
    plots: Mapping[str, tuple[bytes, bytes]],
) -> str:
    """The page.

    Args:
        results: figures of these samples.
        samples: of the bench.
        provenance: what was run.
        plots: by name, for a light and for a dark page, as PNG.

    Returns:
        A complete HTML document that loads nothing.
    """
    method = chosen(results)
    least = results.concurrencies[0]
    return _template().render(
        lead=_lead(results, method, least),
        about=_about(results, samples),
        warnings=_warnings(results),
        cards=_cards(results, samples),
        headline=_headline(results, least),
        plots=[(name, _CAPTIONS[name], *map(_data_uri, pair)) for name, pair in plots.items()],
        tasks=[(task, _tables(results.of(task, least))) for task in _groups(results)],
        side_by_side=_side_by_side(results),
        method=method,
        charts=charts(samples, method) if method else (),
        markdown=markdown(results, provenance),
        glossary=_columns.GLOSSARY,
        config=list(flat(provenance.config)),
        sessions=[list(flat(session)) for session in provenance.sessions],
    )


def markdown(results: Results, provenance: Provenance) -> str:
    """Tables for a README: the mean over tasks, then each task."""
    least = results.concurrencies[0]
    tables = {task: table(results.of(task, least), _columns.HEADLINE) for task in _groups(results)}
    parts = [f"**{task}**\n\n{found.markdown}" for task, found in tables.items()]
    return "\n\n".join([*parts, f"{_source(provenance)}95 % intervals in brackets."])


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines: `options.window` and `8`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{key}", "none" if value is None else str(value)


def _source(provenance: Provenance) -> str:
    session = provenance.sessions[-1] if provenance.sessions else {}
    named = [str(session[key]) for key in ("processor", "command") if session.get(key)]
    if commit := session.get("commit"):
        named.append(f"commit {str(commit)[:10]}")
    return "".join(f"{part}; " for part in named)


def _groups(results: Results) -> list[str]:
    """Tasks, and before them their mean where there is more than one."""
    several = len(results.tasks) > 1 and results.of(MEAN, results.concurrencies[0])
    return [*([MEAN] if several else []), *results.tasks]


def _headline(results: Results, concurrency: int) -> TextTable:
    return table(results.of(_groups(results)[0], concurrency), _columns.HEADLINE)


def _lead(results: Results, method: str | None, concurrency: int) -> str:
    """The sentence that most readers came for."""
    found = results.of(_groups(results)[0], concurrency).get(method or "")
    if found is None or found.speedup is None or found.difference is None:
        return ""
    return (
        f"{method}: {times(found.speedup)} times as fast as the target alone, "
        f"{percent(found.accuracy)} % right ({points(found.difference)} points)"
    )


def _about(results: Results, samples: Sequence[Sample]) -> str:
    sides = ", ".join(map(str, results.concurrencies))
    problems = len({(s.task, s.index) for s in samples})
    return (
        f"{problems:,} problems of {', '.join(results.tasks)}; "
        f"{len(results.methods)} methods; {sides} at a time"
    )


def _warnings(results: Results) -> list[str]:
    """What a reader must know before believing a figure."""
    lines = []
    for (task, method, concurrency), found in results.cells.items():
        where = f"{method} on {task}, {concurrency} at a time"
        if task != MEAN and found.paired < found.n:
            lines.append(
                f"{where}: {found.n - found.paired} of {found.n} problems "
                "have not been solved by the target alone, and are not compared"
            )
        if task != MEAN and found.unfinished:
            lines.append(f"{where}: {found.unfinished} of {found.n} runs are unfinished")
    return lines


def _cards(results: Results, samples: Sequence[Sample]) -> list[tuple[str, str]]:
    wall = sum(s.wall for s in samples)
    return [
        (f"{len(samples):,}", "runs"),
        (f"{len({(s.task, s.index) for s in samples}):,}", "problems"),
        (str(len(results.methods)), "methods"),
        (f"{sum(s.tokens for s in samples):,}", "tokens committed"),
        (seconds(wall) if wall < 100 else f"{wall / 60:.0f} min", "wall-clock in runs"),
    ]


def _tables(found: Mapping[str, Figures]) -> list[tuple[str, TextTable]]:
    groups = {
        "Speed and accuracy": _columns.SPEED,
        "Drafting and judging": _columns.DRAFTING,
        "Times and lanes": _columns.TIMES,
    }
    return [(title, table(found, columns)) for title, columns in groups.items()]


def _side_by_side(results: Results) -> list[tuple[str, TextTable]]:
    """Of the mean over tasks, for each number of problems side by side, if there are several."""
    sides = results.concurrencies
    if len(sides) < 2:
        return []
    group = _groups(results)[0]
    return [(f"{c} at a time", table(results.of(group, c), _columns.SIDE_BY_SIDE)) for c in sides]


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = files("dreamr.evaluation.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _data_uri(plot: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(plot).decode("ascii")


def _read(folder: Path, name: str, missing: bytes | None = None) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise ReportError(
            f"{folder} holds no bench (no {name} there): name a folder of `dreamr bench run --out`"
        ) from error
    except OSError as error:
        raise ReportError(f"cannot read {folder / name}: {error.strerror or error}") from error


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"a report needs {error.name}, which is not installed: pip install 'dreamr[bench]'"
        ) from error
