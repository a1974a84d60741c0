"""The figures as pictures: PNG, for a light and for a dark page.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; a family of
methods keeps its colour everywhere, and its members differ in marker and line. matplotlib is
imported when the first picture is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from dreamr.evaluation.bench import Sample
from dreamr.evaluation.report.labels import Spot, label
from dreamr.evaluation.report.results import (
    ALPHAS,
    BASE,
    FLOOR,
    MEAN,
    Figures,
    Results,
    family,
    rank,
)
from dreamr.evaluation.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "draft": "#8c8c8c",
    "token-sd": "#56b4e9",
    "prompt-lookup": "#b59f00",  # their yellow is too light for lines on paper
    "specreason": "#e69f00",
    "lookahead": "#009e73",
    "parse": "#cc79a7",
    "sequential": "#0072b2",
    "fpsr": "#d55e00",
}
_OTHERS = "#7a5195"  # families that are not known here
_SHADES = 128
_MARKERS = "osD^vP*X"
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True, slots=True)
class Theme:
    """Paper and ink. dark: for a page that is."""

    dark: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """For matplotlib; sizes are points."""
        paper, ink, soft, line = (
            ("#1c1f25", "#e7e9ec", "#9aa3af", "#31353d")
            if self.dark
            else ("#ffffff", "#1d2127", "#5d6672", "#e2e0db")
        )
        return {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "figure.facecolor": paper,
            "savefig.facecolor": paper,
            "axes.facecolor": paper,
            "legend.facecolor": paper,
            "legend.frameon": False,
            "text.color": ink,
            "axes.labelcolor": soft,
            "axes.edgecolor": line,
            "xtick.color": soft,
            "ytick.color": soft,
            "grid.color": line,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }

    def colour(self, method: str) -> str:
        """Of the method's family."""
        if family(method) == BASE:
            return "#e7e9ec" if self.dark else "#1d2127"
        return _COLOURS.get(family(method), _OTHERS)


@dataclass(frozen=True, slots=True)
class Look:
    """How a method looks in every picture of a bench."""

    colour: str
    marker: str
    line: Any


def looks(methods: Iterable[str], theme: Theme) -> dict[str, Look]:
    """Members of a family get markers and lines in their order."""
    seen: dict[str, int] = {}
    found = {}
    for method in sorted(methods, key=rank):
        at = seen.setdefault(family(method), 0)
        seen[family(method)] += 1
        found[method] = Look(
            theme.colour(method), _MARKERS[at % len(_MARKERS)], _LINES[at % len(_LINES)]
        )
    return found


@dataclass(frozen=True, slots=True)
class _Board:
    """What every picture is drawn from. concurrency: the least, at which speed is compared."""

    results: Results
    samples: Sequence[Sample]
    theme: Theme
    looks: Mapping[str, Look] = field(init=False)
    concurrency: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", looks(self.results.methods, self.theme))
        object.__setattr__(self, "concurrency", self.results.concurrencies[0])

    def alone(self, **of: Any) -> list[Sample]:
        """Samples at that concurrency with these values."""
        wanted = {"concurrency": self.concurrency, **of}
        return [s for s in self.samples if all(getattr(s, k) == v for k, v in wanted.items())]


def draw(results: Results, samples: Sequence[Sample], *, dark: bool = False) -> dict[str, bytes]:
    """All pictures that these figures allow, as PNG by name; none where there is nothing to show.

    speedup-accuracy, risk, speedup-tasks, acceptance, steps, latency, concurrency.
    """
    if not results.cells:
        return {}
    board = _Board(results, samples, Theme(dark))
    painters: dict[str, Callable[[_Board], Figure | None]] = {
        "speedup-accuracy": _speedup_accuracy,
        "risk": _risk,
        "speedup-tasks": _speedup_tasks,
        "acceptance": _acceptance,
        "steps": _steps,
        "latency": _latency,
        "concurrency": _concurrency,
    }
    with _style(board.theme):
        drawn = {name: paint(board) for name, paint in painters.items()}
        return {name: _png(figure) for name, figure in drawn.items() if figure is not None}


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(cast("Any", theme.settings)):
        yield


def _panels(
    columns: int, rows: int = 1, *, width: float = 4.0, height: float = 3.2
) -> tuple[Figure, Any]:
    """A figure without a window, whatever backend the user has chosen, and its axes (rows, k)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: Figure) -> bytes:
    """The same bytes for the same samples. Some shades less make it a third of the size."""
    drawn, packed = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_SHADES).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _speedup_accuracy(board: _Board) -> Figure | None:
    """Each method as a point, on the mean over tasks.

    The draft alone stands so far off that the others would lie on top of each other: it is said.
    """
    found = {m: f for m, f in board.results.of(MEAN, board.concurrency).items() if f.speedup}
    shown = {m: f for m, f in found.items() if m != FLOOR} or found
    if not shown:
        return None
    spots = {m: (f.speedup, _percent(f.accuracy)) for m, f in shown.items() if f.speedup}
    figure, axis = _cloud(board, spots)
    axis.set_ylabel("accuracy (%)")
    axis.set_title(f"Speed-up and accuracy, mean of {', '.join(board.results.tasks)}")
    axis.axvline(1.0, color="gray", linewidth=0.8, linestyle=":")
    for floor in (f for m, f in found.items() if m not in shown):
        assert floor.speedup is not None
        figure.supxlabel(
            f"not drawn: the draft alone, {floor.speedup.value:.2f} times as fast, "
            f"{100 * floor.accuracy.value:.1f} % right",
            fontsize=9,
        )
    figure.draw_without_rendering()  # only then is it known where points and names come to lie
    axis.set_ylim(top=min(axis.get_ylim()[1], 101.5))
    label(axis, spots, {method: look.colour for method, look in board.looks.items()})
    return figure


def _risk(board: _Board) -> Figure | None:
    """What each gate risks for its speed, on the mean over tasks; more than one makes a picture."""
    found = board.results.of(MEAN, board.concurrency)
    spots = {
        m: (f.speedup, _percent(f.spoilt))
        for m, f in found.items()
        if f.speedup and f.spoilt and f.acceptance
    }
    if len(spots) < 2:
        return None
    figure, axis = _cloud(board, spots)
    axis.set_ylabel("answers spoilt (%)")
    axis.set_title("Speed-up, and answers wrong that the target alone has right")
    figure.draw_without_rendering()
    axis.set_ylim(bottom=0.0)
    label(axis, spots, {method: look.colour for method, look in board.looks.items()})
    return figure


def _percent(share: Estimate) -> Estimate:
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high)


def _cloud(board: _Board, spots: Mapping[str, Spot]) -> tuple[Figure, Axes]:
    """Methods as points over their speed-ups, with the bars of both intervals."""
    figure, axes = _panels(1, width=7.6, height=4.9)
    axis: Axes = axes[0, 0]
    for method, (x, y) in spots.items():
        _point(axis, board.looks[method], x, y)
    axis.set_xlabel("speed-up against the target alone (wall-clock, ratio of sums)")
    axis.margins(0.12, 0.14)
    return figure, axis


def _point(axis: Axes, look: Look, x: Estimate, y: Estimate) -> None:
    axis.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        color=look.colour,
        marker=look.marker,
        markersize=8,
        elinewidth=1,
        alpha=0.95,
    )


def _speedup_tasks(board: _Board) -> Figure | None:
    """Speed-up of each method in each task, with its interval."""
    found = {task: board.results.of(task, board.concurrency) for task in board.results.tasks}
    methods = [
        m
        for m in board.results.methods
        if m not in (BASE, FLOOR) and any(m in row and row[m].speedup for row in found.values())
    ]
    if not methods:
        return None
    figure, axes = _panels(len(found), width=3.6, height=1.2 + 0.36 * len(methods))
    for axis, (task, row) in zip(axes[0], found.items(), strict=True):
        for at, method in enumerate(methods):
            if method in row and row[method].speedup:
                _interval(axis, at, row[method], board.looks[method])
        axis.set_yticks(range(len(methods)), methods if axis is axes[0, 0] else [])
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.axvline(1.0, color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(task)
        axis.set_xlabel("speed-up (95 % interval)")
        axis.margins(x=0.16)
    return figure


def _interval(axis: Axes, at: int, found: Figures, look: Look) -> None:
    assert found.speedup is not None
    s = found.speedup
    axis.plot([s.low, s.high], [at, at], color=look.colour, linewidth=2.5, alpha=0.6)
    axis.plot(s.value, at, look.marker, color=look.colour, markersize=6)
    axis.annotate(
        f"{s.value:.2f}",
        (s.value, at),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )


def _acceptance(board: _Board) -> Figure | None:
    """What each threshold would have accepted, and what of that wrongly."""
    curves = {
        task: {m: f.curve for m, f in board.results.of(task, board.concurrency).items() if f.curve}
        for task in board.results.tasks
    }
    curves = {task: row for task, row in curves.items() if row}
    names = {
        "accepted": "steps accepted (%)",
        "false_accepts": "wrong ones accepted (%)",
        "false_rejects": "right ones rejected (%)",
    }
    shown = [
        name
        for name in names
        if any(getattr(c, name) for row in curves.values() for c in row.values())
    ]
    if not shown:
        return None
    figure, axes = _panels(len(curves), len(shown), width=3.8, height=2.5)
    for column, (task, row) in enumerate(curves.items()):
        for axis, name in zip(axes[:, column], shown, strict=True):
            _thresholds(axis, {m: getattr(c, name) for m, c in row.items()}, board)
            axis.set_ylabel(names[name] if not column else "")
        axes[0, column].set_title(task)
        axes[-1, column].set_xlabel("threshold alpha")
    _alike(axes)
    _legend(figure, axes)
    return figure


def _thresholds(axis: Axes, shares: Mapping[str, Sequence[float] | None], board: _Board) -> None:
    axis.set_xlim(0, 1)
    for at, (method, values) in enumerate(shares.items()):
        if values is not None:
            look = board.looks[method]
            axis.plot(
                ALPHAS,
                [100 * value for value in values],
                color=look.colour,
                ls=look.line,
                # The later, the thinner: methods with the same gate often have one curve.
                lw=1.3 + 3 * (1 - (at + 1) / len(shares)),
                label=method,
            )


def _alike(axes: Any) -> None:
    """One scale for all panels of a row, from 0."""
    for row in axes:
        top = max(axis.get_ylim()[1] for axis in row)
        for axis in row:
            axis.set_ylim(0, top)


def _legend(figure: Figure, axes: Any) -> None:
    """One for all panels, under them."""
    known: dict[str, Any] = {}
    for axis in np.ravel(axes):
        known.update(
            {label: line for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        )
    order = sorted(known, key=rank)
    legend = figure.legend(
        [known[label] for label in order],
        order,
        loc="outside lower center",
        ncols=ceil(len(order) / ceil(len(order) / (figure.get_figwidth() / 1.55))),
        handlelength=2.6,
    )
    for line in legend.get_lines():
        line.set_linewidth(2)


def chosen(results: Results) -> str | None:
    """The method to look at more closely: `fpsr` where it took part, else the last that drafts."""
    able = [m for m in results.methods if m not in (BASE, FLOOR)]
    return "fpsr" if "fpsr" in able else able[-1] if able else None


def _steps(board: _Board) -> Figure | None:
    """How long the steps are that the draft and the target wrote, by what became of them."""
    method = chosen(board.results)
    if method is None:
        return None
    kinds = {
        "draft's, accepted": ("draft", "accepted", "#2f8f5b", "-"),
        "draft's, rejected": ("draft", "rejected", "#d55e00", "--"),
        "target's own": ("target", "kept", "#2f6fd0", "-."),
    }
    figure, axes = _panels(len(board.results.tasks), width=3.8, height=3.1)
    drawn = False
    for axis, task in zip(axes[0], board.results.tasks, strict=True):
        spans = [s for x in board.alone(task=task, method=method) for s in x.spans]
        sizes = {
            name: [s.tokens for s in spans if (s.lane, s.fate) == (lane, fate)]
            for name, (lane, fate, _, _) in kinds.items()
        }
        most = max((size for values in sizes.values() for size in values), default=0)
        bins = np.arange(0, most + 2 * _bin(most), _bin(most))
        for name, (_, _, colour, line) in kinds.items():
            if values := sizes[name]:
                drawn = True
                shares = 100 * np.histogram(values, bins)[0] / len(values)
                axis.stairs(shares, bins, color=colour, ls=line, lw=1.8, label=name)
        axis.set_title(f"{task}: {sum(map(len, sizes.values())):,} steps")
        axis.set_xlabel("tokens of a step")
    axes[0, 0].set_ylabel("share of the steps (%)")
    figure.suptitle(f"Step lengths with {method}", x=0.01, ha="left", fontweight="bold")
    if drawn:
        _legend(figure, axes)
    return figure if drawn else None


def _bin(most: int) -> int:
    """About twelve bins, of whole tokens."""
    return max(1, round(most / 12))


def _latency(board: _Board) -> Figure | None:
    """Share of problems that were solved by then."""
    figure, axes = _panels(len(board.results.tasks), width=3.8, height=3.3)
    drawn = False
    for axis, task in zip(axes[0], board.results.tasks, strict=True):
        for method in board.results.methods:
            of = board.alone(task=task, method=method)
            if seconds := sorted(s.seconds for s in of if s.finish != "failed" and s.seconds > 0):
                drawn = True
                look = board.looks[method]
                axis.ecdf(seconds, color=look.colour, ls=look.line, lw=1.6, label=method)
        axis.set_xscale("log")
        axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
        _seconds_axis(axis)
        axis.set_title(task)
        axis.set_xlabel("seconds to the answer (logarithmic)")
    axes[0, 0].set_ylabel("share of the problems (%)")
    if drawn:
        _legend(figure, axes)
    return figure if drawn else None


def _seconds_axis(axis: Axes) -> None:
    """Plain numbers at the powers of ten, and at 2 and 5 times those where there is room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 60 * low else (1.0,)))
    axis.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def _concurrency(board: _Board) -> Figure | None:
    """Throughput and latency over the number of problems side by side, on the mean over tasks."""
    sides = board.results.concurrencies
    if len(sides) < 2:
        return None
    figure, axes = _panels(2, width=4.6, height=3.5)
    for method in board.results.methods:
        found = {c: f for c in sides if (f := board.results.cells.get((MEAN, method, c)))}
        look = board.looks[method]
        for axis, name in zip(axes[0], ("throughput", "latency_p50"), strict=True):
            values = [getattr(f, name) for f in found.values()]
            axis.plot(
                list(found),
                values,
                color=look.colour,
                ls=look.line,
                marker=look.marker,
                label=method,
            )
    for axis, name in zip(axes[0], ("problems a second", "seconds a problem, p50"), strict=True):
        axis.set_xscale("log", base=2)
        axis.set_xticks(sides, [str(side) for side in sides])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("problems side by side")
        axis.set_title(name)
    _legend(figure, axes)
    return figure
