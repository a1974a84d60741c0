"""Reading the folder of a bench and writing figures, plots and a page next to its samples."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr._files import read_bytes
from dreamr._messages import reason
from dreamr._option_specs import BadOption
from dreamr._output_files import replace_file, writing
from dreamr.errors import DreamrError, Unsupported
from dreamr.evaluation.bench import (
    CONFIG,
    PRESETS,
    PROVENANCE,
    SAMPLES,
    BenchError,
    Sample,
    read_samples,
    schedule_options,
)
from dreamr.evaluation.report import columns as _columns
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.attached import attached, described
from dreamr.evaluation.report.columns import TextTable, percent, points, seconds, table, times
from dreamr.evaluation.report.lanes import charts
from dreamr.evaluation.report.plots import draw
from dreamr.evaluation.report.results import MEAN, Figures, Results
from dreamr.evaluation.report.step_plots import chosen
from dreamr.evaluation.simulator import ideal_seconds, works_on_steps

if TYPE_CHECKING:
    from jinja2 import Template

RESULTS, REPORT = "results.json", "report.html"

_REASONS = 10  # that are listed for failed runs
_CAPTIONS = {
    "speedup-accuracy": "Speed-up and accuracy of each method with 95 % intervals. Higher and "
    "further right is better.",
    "risk": "Speed-up and regressions of each method with 95 % intervals. A regression is a "
    "problem that the target alone answers right and the method answers wrong. Lower and "
    "further right is better.",
    "speedup-tasks": "Speed-up on each task with 95 % intervals. The dotted line is the target "
    "alone.",
    "acceptance": "Decisions that each threshold would have made on the judged steps: share of "
    "accepted steps, share of wrong steps accepted and share of right steps rejected, by the "
    "task's checker. The legend names the kind of score that each method compares with its "
    "threshold.",
    "steps": "Tokens per step, by the model that wrote it and its fate.",
    "latency": "Share of the problems that are answered within a time. Further left is better.",
    "concurrency": "Throughput and median latency with concurrent problems.",
}


class ReportError(DreamrError):
    """The folder of a bench cannot be reported."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Setup of a bench.

    Attributes:
        config: Configuration, from config.yaml.
        sessions: Command, machine and versions of each session.
    """

    config: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]


def write_report(folder: Path) -> Path:
    """Write results.json, the plots and report.html from the samples of a bench.

    Each file is replaced atomically. Efficiency is measured against the simulator's replay of the
    same traces without overhead.

    Args:
        folder: Folder of a bench, finished or not.

    Returns:
        Path of the page.

    Raises:
        ReportError: If the folder has no samples, or its configuration has invalid options.
        Unwritable: If the folder cannot be written.
        Unsupported: If matplotlib, jinja2 or yaml is not installed.
    """
    samples, provenance = load_samples(folder), load_provenance(folder)
    try:
        options = schedule_options(provenance.config)
    except BadOption as error:
        raise ReportError(f"{folder / CONFIG}: {error}") from error
    results = figures(samples, ideal_seconds(samples, options))
    content = {
        **results.to_json(),
        "attachments": attached(samples),
        "config": provenance.config,
        "provenance": provenance.sessions,
    }
    with _extra():
        light, dark = draw(results, samples), draw(results, samples, dark=True)
        page = render(results, samples, provenance, {n: (light[n], dark[n]) for n in light})
    write_file(folder / RESULTS, json.dumps(content, indent=1).encode() + b"\n")
    for name, plot in light.items():
        write_file(folder / f"{name}.png", plot)
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def load_samples(folder: Path) -> list[Sample]:
    """Read all samples of a bench. An incomplete last line is skipped.

    If a problem was run twice, the later sample counts.

    Raises:
        ReportError: If there are no samples or a line is invalid; the message names the line.
    """
    try:
        samples = {sample.key: sample for sample in read_samples(folder)}
    except BenchError as error:
        raise ReportError(str(error)) from error
    if not samples:
        raise ReportError(
            f"{folder / SAMPLES} contains no samples yet: run the bench until a problem is finished"
        )
    return list(samples.values())


def load_provenance(folder: Path) -> Provenance:
    """Read the setup of a bench; empty if it was not recorded.

    Raises:
        ReportError: If a file cannot be read.
        Unsupported: If yaml is not installed.
    """
    with _extra():
        import yaml
    try:
        config = yaml.safe_load(_read(folder, CONFIG, b""))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        raise ReportError(f"{folder / CONFIG}{place}: not valid YAML") from error
    found = _read_json(folder, PROVENANCE, b"[]")
    sessions = found if isinstance(found, list) else [found]
    return Provenance(config if isinstance(config, dict) else {}, sessions)


def load_results(folder: Path) -> Results:
    """Read the figures of results.json, for benches whose samples were not kept.

    Raises:
        ReportError: If the file has no figures.
    """
    try:
        return Results.from_json(_read_json(folder, RESULTS))
    except (ValueError, TypeError, KeyError) as error:
        raise ReportError(f"{folder / RESULTS} is not a results file of `dreamr bench`") from error


def write_file(path: Path, content: bytes) -> None:
    """Replace a file atomically.

    Raises:
        Unwritable: If the file cannot be written.
    """
    with writing(path, "the samples are unchanged"):
        replace_file(path, content)


def render(
    results: Results,
    samples: Sequence[Sample],
    provenance: Provenance,
    plots: Mapping[str, tuple[bytes, bytes]],
) -> str:
    """Render the page.

    Args:
        results: Figures of the samples.
        samples: Samples of the bench.
        provenance: Setup of the bench.
        plots: PNG images for a light and for a dark page, by name.

    Returns:
        A complete HTML document without external resources.
    """
    method = chosen(results)
    least = results.concurrencies[0]
    media = described(samples)
    return _template().render(
        lead=_lead(results, method, least),
        about=_about(results, samples),
        warnings=[*_mixed(results, provenance), *_warnings(results), *_failures(samples)],
        cards=_cards(results, samples),
        headline=_headline(results, least),
        plots=[(name, _CAPTIONS[name], *map(_data_uri, pair)) for name, pair in plots.items()],
        tasks=[
            (task, media.get(task, ""), _tables(results.of(task, least)))
            for task in _groups(results)
        ],
        by_concurrency=_by_concurrency(results),
        method=method,
        charts=charts(samples, method) if method else (),
        markdown=markdown(results, provenance),
        glossary=_columns.GLOSSARY,
        config=list(flat(provenance.config)),
        sessions=[list(flat(session)) for session in provenance.sessions],
    )


def markdown(results: Results, provenance: Provenance) -> str:
    """Return Markdown tables: the mean over tasks, then each task."""
    least = results.concurrencies[0]
    tables = {task: table(results.of(task, least), _columns.HEADLINE) for task in _groups(results)}
    parts = [f"**{task}**\n\n{found.markdown}" for task, found in tables.items()]
    return "\n\n".join([*parts, f"{_source(provenance)}95 % intervals in brackets."])


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values with their path, such as `options.window` and `8`."""
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
    """Return the tasks; if there are several, their mean comes first."""
    several = len(results.tasks) > 1 and results.of(MEAN, results.concurrencies[0])
    return [*([MEAN] if several else []), *results.tasks]


def _headline(results: Results, concurrency: int) -> TextTable:
    return table(results.of(_groups(results)[0], concurrency), _columns.HEADLINE)


def _lead(results: Results, method: str | None, concurrency: int) -> str:
    """Return the main result as one sentence."""
    found = results.of(_groups(results)[0], concurrency).get(method or "")
    if found is None or found.speedup is None or found.difference is None:
        return ""
    return (
        f"{method}: {times(found.speedup)} times as fast as the target alone, "
        f"accuracy {percent(found.accuracy)} % ({points(found.difference)} percentage points)"
    )


def _about(results: Results, samples: Sequence[Sample]) -> str:
    sides = ", ".join(map(str, results.concurrencies))
    problems = len({s.problem for s in samples})
    return (
        f"{problems:,} problems of {', '.join(results.tasks)}; "
        f"{len(results.methods)} methods; concurrency {sides}"
    )


def _mixed(results: Results, provenance: Provenance) -> list[str]:
    """Return a caveat if runs under one name may have had different methods."""
    options = provenance.config.get("options")
    follows = isinstance(options, Mapping) and options.get("load_aware") is True
    known = [PRESETS[name].values["method"] for name in results.methods if name in PRESETS]
    if not follows or "fpsr" not in known or max(results.concurrencies) == 1:
        return []
    return [
        "--load-aware: runs beside others may have used another fallback, a smaller window or the "
        "target alone; fpsr and its variants mix such runs with others"
    ]


def _warnings(results: Results) -> list[str]:
    """Return caveats to know before comparing figures."""
    lines = []
    for (task, method, concurrency), found in results.cells.items():
        where = f"{method} on {task}, concurrency {concurrency}"
        if task != MEAN and found.paired < found.n:
            lines.append(
                f"{where}: {found.n - found.paired} of {found.n} problems "
                "were not run with the target alone and are not compared"
            )
        if task != MEAN and found.unfinished:
            lines.append(f"{where}: {found.unfinished} runs are unfinished")
        is_replayed = concurrency == 1 and works_on_steps(method)
        if task != MEAN and is_replayed and found.paired and found.ideal_speedup is None:
            lines.append(
                f"{where}: no run can be replayed with that of the target alone, so there is no "
                "efficiency"
            )
    return lines


def _failures(samples: Sequence[Sample]) -> list[str]:
    """Return why runs failed, the most frequent reason first."""
    failed = (s for s in samples if s.error is not None)
    reasons = Counter((s.method, s.task, s.concurrency, s.error) for s in failed)
    return [
        f"{method} on {task}, concurrency {concurrency}: {count} failed: {error}"
        for (method, task, concurrency, error), count in reasons.most_common(_REASONS)
    ]


def _cards(results: Results, samples: Sequence[Sample]) -> list[tuple[str, str]]:
    wall = sum(s.wall for s in samples)
    return [
        (f"{len(samples):,}", "runs"),
        (f"{len({s.problem for s in samples}):,}", "problems"),
        (str(len(results.methods)), "methods"),
        (f"{sum(s.tokens for s in samples):,}", "tokens committed"),
        (seconds(wall) if wall < 100 else f"{wall / 60:.0f} min", "wall-clock time of all runs"),
    ]


def _tables(found: Mapping[str, Figures]) -> list[tuple[str, TextTable]]:
    groups = {
        "Speed and accuracy": _columns.SPEED,
        "Drafting and judging": _columns.DRAFTING,
        "Latency and lanes": _columns.TIMES,
    }
    return [(title, table(found, columns)) for title, columns in groups.items()]


def _by_concurrency(results: Results) -> list[tuple[str, TextTable]]:
    """Return a table of the mean over tasks for each concurrency, if there are several."""
    sides = results.concurrencies
    if len(sides) < 2:
        return []
    group = _groups(results)[0]
    return [(f"Concurrency {c}", table(results.of(group, c), _columns.CONCURRENT)) for c in sides]


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
        return read_bytes(folder / name)
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise ReportError(
            f"{folder} is not the folder of a bench (it has no {name}): give the --out of a "
            "`dreamr bench run`"
        ) from error
    except OSError as error:
        raise ReportError(f"cannot read {folder / name}: {reason(error)}") from error


def _read_json(folder: Path, name: str, missing: bytes | None = None) -> Any:
    try:
        return json.loads(_read(folder, name, missing))
    except json.JSONDecodeError as error:
        raise ReportError(f"{folder / name}, line {error.lineno}: not valid JSON") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{folder / name}: not valid JSON") from error


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"reports need {error.name}, which is not installed: pip install 'dreamr[bench]'"
        ) from error
