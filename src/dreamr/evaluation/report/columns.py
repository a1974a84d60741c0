"""Figures as text: the columns of all tables, each with what it means for the glossary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dreamr.evaluation.report.results import Figures
from dreamr.evaluation.report.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Column:
    """A figure in a table. text: empty where it cannot be told; meaning: for the glossary."""

    title: str
    text: Callable[[Figures], str]
    meaning: str


def times(estimate: Estimate | None) -> str:
    """How many times as good: 1.92 [1.88, 1.95]."""
    return _between(estimate, 1, ".2f")


def percent(estimate: Estimate | None) -> str:
    """A share: 97.2 [95.0, 98.5]."""
    return _between(estimate, 100, ".1f")


def points(estimate: Estimate | None) -> str:
    """A difference of shares, signed: -0.3 [-1.1, +0.4]."""
    return _between(estimate, 100, "+.1f")


def plain(value: float | None, form: str = ".2f", scale: float = 1.0) -> str:
    """A figure without an interval."""
    return "" if value is None else format(scale * value, form)


def seconds(value: float | None) -> str:
    """A time with three digits and its unit: 0.5 ms, 48.2 ms, 310 ms, 4.03 s."""
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


N = Column("n", lambda f: str(f.n), "Problems with this method.")
SPEEDUP = Column(
    "speed-up",
    lambda f: times(f.speedup),
    "Wall-clock of the target alone over that of the method, both summed over the problems that "
    "both have solved. The interval is from drawing problems with return.",
)
ACCURACY = Column(
    "accuracy %",
    lambda f: percent(f.accuracy),
    "Share of right answers, with Wilson's interval. A failed run counts as wrong.",
)
DIFFERENCE = Column(
    "difference",
    lambda f: points(f.difference),
    "Accuracy less that of the target alone, in points, on the same problems; the interval is that "
    "of Bonett and Price for paired answers.",
)
ACCEPTED = Column(
    "accepted steps %",
    lambda f: percent(f.acceptance),
    "Drafted steps that were accepted, of those accepted or rejected. What was thrown away unread "
    "does not count.",
)
SPOILT = Column(
    "regressions %",
    lambda f: percent(f.regressions),
    "Problems that the target alone solves and this method does not, of those that both have "
    "worked at, with Wilson's interval: what a gate risks.",
)
EFFICIENCY = Column(
    "efficiency %",
    lambda f: plain(f.efficiency, ".1f", 100),
    "The measured speed-up over the ideal one.",
)

SPEED = (
    N,
    SPEEDUP,
    Column(
        "median speed-up",
        lambda f: times(f.speedup_median),
        "The median over problems of each problem's own ratio.",
    ),
    Column(
        "time a token",
        lambda f: plain(f.time_gain),
        "The first factor of the speed-up: how many times less wall-clock a committed token takes.",
    ),
    Column(
        "tokens an answer",
        lambda f: plain(f.tokens_gain),
        "The second factor: how many times fewer tokens an answer has. Below 1 it has more.",
    ),
    Column(
        "ideal",
        lambda f: plain(f.ideal_speedup),
        "The speed-up that the same traces would have without any overhead.",
    ),
    EFFICIENCY,
    ACCURACY,
    DIFFERENCE,
    SPOILT,
)
DRAFTING = (
    ACCEPTED,
    Column(
        "accepted tokens %",
        lambda f: percent(f.token_acceptance),
        "The same, weighted by the tokens of the steps.",
    ),
    Column(
        "drafted tokens %",
        lambda f: plain(f.drafted, ".1f", 100),
        "Tokens that the draft wrote, of all committed ones, the answer's included.",
    ),
    Column(
        "checked",
        lambda f: str(f.checked) if f.checked else "",
        "Verdicts that the task's own checker can call right or wrong: of steps before which "
        "everything that was committed is right.",
    ),
    Column(
        "false accepts %",
        lambda f: percent(f.false_accepts),
        "Share of the wrong steps among the checked ones that were accepted.",
    ),
    Column(
        "false rejects %",
        lambda f: percent(f.false_rejects),
        "Share of the right steps among the checked ones that were rejected.",
    ),
    Column(
        "judge calls",
        lambda f: plain(f.judge_calls, ".1f") if f.judge_calls else "",
        "Judge calls for an answer.",
    ),
    Column(
        "steps a call",
        lambda f: plain(f.steps_per_call),
        "Steps that one call judges, on average.",
    ),
    Column(
        "thrown away",
        lambda f: plain(f.wasted, ".1f"),
        "Tokens that the target decoded for an answer and nobody used.",
    ),
    Column(
        "thrown away %",
        lambda f: plain(f.wasted_share, ".1f", 100),
        "The same over the committed tokens.",
    ),
)
TIMES = (
    *(
        Column(
            f"p{p}",
            lambda f, p=p: seconds(getattr(f, f"latency_p{p}")),  # type: ignore[misc]
            f"Time in which {p} % of the problems are solved.",
        )
        for p in (50, 90, 99)
    ),
    Column(
        "first step",
        lambda f: seconds(f.first_step_p50),
        "Time to the first committed step, median.",
    ),
    *(
        Column(
            f"{lane} busy %",
            lambda f, lane=lane: plain(getattr(f, f"busy_{lane}"), ".0f", 100),  # type: ignore[misc]
            f"Share of the time in which {what}.",
        )
        for lane, what in (
            ("draft", "the draft writes"),
            ("judge", "the target judges"),
            ("target", "the target writes"),
        )
    ),
    Column(
        "tokens", lambda f: plain(f.tokens, ".0f"), "Committed tokens of an answer, on average."
    ),
    Column("steps", lambda f: plain(f.steps, ".1f"), "Committed steps of an answer, on average."),
    Column(
        "unfinished",
        lambda f: str(f.unfinished) if f.unfinished else "",
        "Runs that a limit cut, or that failed.",
    ),
)
SIDE_BY_SIDE = (
    N,
    Column(
        "problems a second",
        lambda f: plain(f.throughput),
        "Problems over the wall-clock that all of them took together.",
    ),
    Column(
        "throughput gain",
        lambda f: plain(f.throughput_gain),
        "Throughput over that of the target alone with as many problems side by side.",
    ),
    Column(
        "tokens a second",
        lambda f: plain(f.token_rate, ".0f"),
        "Committed tokens over the same wall-clock.",
    ),
    *TIMES[:4],
    ACCURACY,
    DIFFERENCE,
)
HEADLINE = (*SPEED, ACCEPTED)
GLOSSARY = tuple(dict.fromkeys((*SPEED, *DRAFTING, *TIMES, *SIDE_BY_SIDE)))


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells of text under their heads; the first cell of a row is its name."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        """As GitHub draws it."""
        lines = [self.heads, ("---", *("---:" for _ in self.heads[1:])), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(
    found: Mapping[str, Figures], columns: Sequence[Column], name: str = "method"
) -> TextTable:
    """A row for each name; columns that would be empty are left out."""
    cells = {column.title: [column.text(f) for f in found.values()] for column in columns}
    full = {title: texts for title, texts in cells.items() if any(texts)}
    rows = zip(found, *full.values(), strict=True)
    return TextTable((name, *full), tuple(rows))
