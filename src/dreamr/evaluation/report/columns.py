"""Columns of all tables, with their formats and glossary entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dreamr.evaluation.report.results import Figures
from dreamr.evaluation.report.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table.

    Attributes:
        title: Heading.
        text: Formats the figure; empty if the figure is not known.
        meaning: Glossary entry.
    """

    title: str
    text: Callable[[Figures], str]
    meaning: str


def times(estimate: Estimate | None) -> str:
    """Format a ratio: 1.92 [1.88, 1.95]."""
    return _between(estimate, 1, ".2f")


def percent(estimate: Estimate | None) -> str:
    """Format a share in percent: 97.2 [95.0, 98.5]."""
    return _between(estimate, 100, ".1f")


def points(estimate: Estimate | None) -> str:
    """Format a difference of shares in percentage points: -0.3 [-1.1, +0.4]."""
    return _between(estimate, 100, "+.1f")


def plain(value: float | None, form: str = ".2f", scale: float = 1.0) -> str:
    """Format a figure without an interval."""
    return "" if value is None else format(scale * value, form)


def seconds(value: float | None) -> str:
    """Format a time with its unit: 0.50 ms, 48.2 ms, 310 ms, 4.03 s."""
    if value is None:
        return ""
    for limit, form, unit in ((0.01, ".2f", "ms"), (0.1, ".1f", "ms"), (0.9995, ".0f", "ms")):
        if value < limit:
            return f"{1000 * value:{form}} {unit}"
    return f"{value:.2f} s"


def _between(estimate: Estimate | None, scale: float, form: str) -> str:
    if estimate is None:
        return ""
    value, low, high = (
        format(scale * part, form) for part in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


N = Column("problems", lambda f: str(f.n), "Problems that this method has run.")
SPEEDUP = Column(
    "speed-up",
    lambda f: times(f.speedup),
    "Wall-clock time of the target alone divided by that of the method, both summed over the "
    "problems that both have run. Bootstrap interval over problems.",
)
ACCURACY = Column(
    "accuracy %",
    lambda f: percent(f.accuracy),
    "Share of right answers. A problem that is asked in several ways is right if all its answers "
    "are. A failed run counts as wrong. Wilson interval.",
)
DIFFERENCE = Column(
    "accuracy difference",
    lambda f: points(f.difference),
    "Accuracy minus that of the target alone on the same problems, in percentage points. "
    "Interval of Bonett and Price for paired answers.",
)
ACCEPTED = Column(
    "accepted steps %",
    lambda f: percent(f.acceptance),
    "Share of accepted steps among the accepted and rejected drafted steps. Steps that were "
    "discarded without a decision do not count.",
)
REGRESSIONS = Column(
    "regressions %",
    lambda f: percent(f.regressions),
    "Share of the problems that the target alone answers right and the method answers wrong, "
    "among the problems that both have run. Wilson interval.",
)
EFFICIENCY = Column(
    "efficiency %",
    lambda f: plain(f.efficiency, ".1f", 100),
    "Speed-up divided by the ideal speed-up.",
)

SPEED = (
    N,
    SPEEDUP,
    Column(
        "median speed-up",
        lambda f: times(f.speedup_median),
        "Median over the problems of each problem's own speed-up. Bootstrap interval.",
    ),
    Column(
        "speed-up per token",
        lambda f: plain(f.time_gain),
        "First factor of the speed-up: seconds per committed token of the target alone, divided by "
        "those of the method.",
    ),
    Column(
        "token reduction",
        lambda f: plain(f.tokens_gain),
        "Second factor of the speed-up: committed tokens per answer of the target alone, divided "
        "by those of the method. Below 1, the method writes longer answers.",
    ),
    Column(
        "ideal speed-up",
        lambda f: plain(f.ideal_speedup),
        "Speed-up without any overhead, simulated from the same traces.",
    ),
    EFFICIENCY,
    ACCURACY,
    DIFFERENCE,
    REGRESSIONS,
)
DRAFTING = (
    ACCEPTED,
    Column(
        "accepted tokens %",
        lambda f: percent(f.token_acceptance),
        "Accepted steps %, weighted by the tokens of the steps.",
    ),
    Column(
        "drafted tokens %",
        lambda f: plain(f.drafted, ".1f", 100),
        "Share of the committed tokens that the draft wrote, answers included.",
    ),
    Column(
        "checked verdicts",
        lambda f: str(f.checked) if f.checked else "",
        "Verdicts that the task's checker can grade: those on steps before which every committed "
        "step is right.",
    ),
    Column(
        "false accepts %",
        lambda f: percent(f.false_accepts),
        "Share of the wrong steps that were accepted, among the checked verdicts.",
    ),
    Column(
        "false rejects %",
        lambda f: percent(f.false_rejects),
        "Share of the right steps that were rejected, among the checked verdicts.",
    ),
    Column(
        "judge calls per answer",
        lambda f: plain(f.judge_calls, ".1f") if f.judge_calls else "",
        "Mean number of judge calls per answer.",
    ),
    Column(
        "steps per judge call",
        lambda f: plain(f.steps_per_call),
        "Mean number of steps in a judge call.",
    ),
    Column(
        "discarded tokens",
        lambda f: plain(f.wasted, ".1f"),
        "Mean number of target tokens per answer that were decoded and discarded.",
    ),
    Column(
        "discarded tokens %",
        lambda f: plain(f.wasted_share, ".1f", 100),
        "Discarded target tokens divided by the committed tokens.",
    ),
)
TIMES = (
    *(
        Column(
            f"latency p{p}",
            lambda f, p=p: seconds(getattr(f, f"latency_p{p}")),  # type: ignore[misc]
            f"Time within which {p} % of the problems are answered.",
        )
        for p in (50, 90, 99)
    ),
    Column(
        "first step p50",
        lambda f: seconds(f.first_step_p50),
        "Median time to the first committed step.",
    ),
    *(
        Column(
            f"{lane} busy %",
            lambda f, lane=lane: plain(getattr(f, f"busy_{lane}"), ".0f", 100),  # type: ignore[misc]
            f"Share of the wall-clock time in which {what}.",
        )
        for lane, what in (
            ("draft", "the draft writes"),
            ("judge", "the target judges"),
            ("target", "the target writes"),
        )
    ),
    Column(
        "tokens per answer",
        lambda f: plain(f.tokens, ".0f"),
        "Mean number of committed tokens per answer.",
    ),
    Column(
        "steps per answer",
        lambda f: plain(f.steps, ".1f"),
        "Mean number of committed steps per answer.",
    ),
    Column(
        "unfinished runs",
        lambda f: str(f.unfinished) if f.unfinished else "",
        "Runs that failed or reached a limit on tokens or steps.",
    ),
)
CONCURRENT = (
    N,
    Column(
        "problems/s",
        lambda f: plain(f.throughput),
        "Problems divided by the wall-clock time of all of them together.",
    ),
    Column(
        "throughput gain",
        lambda f: plain(f.throughput_gain),
        "Problems/s divided by those of the target alone at the same concurrency.",
    ),
    Column(
        "tokens/s",
        lambda f: plain(f.token_rate, ".0f"),
        "Committed tokens divided by the wall-clock time of all problems together.",
    ),
    *TIMES[:4],
    ACCURACY,
    DIFFERENCE,
)
HEADLINE = (*SPEED, ACCEPTED)
GLOSSARY = tuple(dict.fromkeys((*SPEED, *DRAFTING, *TIMES, *CONCURRENT)))


@dataclass(frozen=True, slots=True)
class TextTable:
    """Table of texts. The first cell of a row is its name."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        lines = [self.heads, ("---", *("---:" for _ in self.heads[1:])), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(
    found: Mapping[str, Figures], columns: Sequence[Column], name: str = "method"
) -> TextTable:
    """Build a table with a row per name, without empty columns.

    Args:
        found: Figures by name of the row.
        columns: Columns of the table.
        name: Heading of the first column.
    """
    cells = {column.title: [column.text(f) for f in found.values()] for column in columns}
    full = {title: texts for title, texts in cells.items() if any(texts)}
    rows = zip(found, *full.values(), strict=True)
    return TextTable((name, *full), tuple(rows))
