"""Plots of speed-up against accuracy and regressions, and by task."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

from dreamr.evaluation.report.canvas import PlotData, panels
from dreamr.evaluation.report.labels import Spot, label
from dreamr.evaluation.report.methods import BASE, FLOOR
from dreamr.evaluation.report.results import MEAN, Figures
from dreamr.evaluation.report.statistics import Estimate
from dreamr.evaluation.report.theme import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLE = 68  # characters


def speedup_accuracy(data: PlotData) -> Figure | None:
    """Plot the speed-up and accuracy of each method, on the mean over tasks.

    The draft alone is so much faster that the other points would overlap, so a note replaces it.
    """
    found = {m: f for m, f in data.results.of(MEAN, data.concurrency).items() if f.speedup}
    shown = {m: f for m, f in found.items() if m != FLOOR} or found
    if not shown:
        return None
    spots = {m: (f.speedup, _percent(f.accuracy)) for m, f in shown.items() if f.speedup}
    figure, axis = _cloud(data, spots)
    axis.set_ylabel("accuracy (%)")
    axis.set_title(_title(data, "Speed-up and accuracy"))
    axis.axvline(1.0, color="gray", linewidth=0.8, linestyle=":")
    for floor in (f for m, f in found.items() if m not in shown):
        assert floor.speedup is not None
        figure.supxlabel(
            f"outside the plot: the draft alone, {floor.speedup.value:.2f} times as fast, "
            f"accuracy {100 * floor.accuracy.value:.1f} %",
            fontsize=9,
        )
    figure.draw_without_rendering()  # fixes the positions of points and labels
    axis.set_ylim(top=min(axis.get_ylim()[1], 101.5))
    label(axis, spots, {method: look.color for method, look in data.looks.items()})
    return figure


def risk(data: PlotData) -> Figure | None:
    """Plot the speed-up and regressions of each method, on the mean over tasks.

    None for fewer than two methods.
    """
    found = data.results.of(MEAN, data.concurrency)
    spots = {
        m: (f.speedup, _percent(f.regressions))
        for m, f in found.items()
        if f.speedup and f.regressions and f.acceptance
    }
    if len(spots) < 2:
        return None
    figure, axis = _cloud(data, spots)
    axis.set_ylabel("regressions (% of problems)")
    axis.set_title(_title(data, "Speed-up and regressions"))
    figure.draw_without_rendering()
    axis.set_ylim(bottom=0.0)
    label(axis, spots, {method: look.color for method, look in data.looks.items()})
    return figure


def _title(data: PlotData, what: str) -> str:
    """Return a title that names the tasks, in lines that fit the figure."""
    return fill(
        f"{what}, mean over {', '.join(data.results.tasks)}", _TITLE, break_on_hyphens=False
    )


def _percent(share: Estimate) -> Estimate:
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high)


def _cloud(data: PlotData, spots: Mapping[str, Spot]) -> tuple[Figure, Axes]:
    """Draw methods as points with error bars, speed-up on the x axis."""
    figure, axes = panels(1, width=7.6, height=4.9)
    axis: Axes = axes[0, 0]
    for method, (x, y) in spots.items():
        _point(axis, data.looks[method], x, y)
    axis.set_xlabel("speed-up over the target alone (wall-clock time, ratio of sums)")
    axis.margins(0.12, 0.14)
    return figure, axis


def _point(axis: Axes, look: Look, x: Estimate, y: Estimate) -> None:
    axis.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        color=look.color,
        marker=look.marker,
        markersize=8,
        elinewidth=1,
        alpha=0.95,
    )


def speedup_tasks(data: PlotData) -> Figure | None:
    """Plot the speed-up of each method on each task with its interval."""
    found = {task: data.results.of(task, data.concurrency) for task in data.results.tasks}
    methods = [
        m
        for m in data.results.methods
        if m not in (BASE, FLOOR) and any(m in row and row[m].speedup for row in found.values())
    ]
    if not methods:
        return None
    figure, axes = panels(len(found), width=3.6, height=1.2 + 0.36 * len(methods))
    for axis, (task, row) in zip(axes[0], found.items(), strict=True):
        for at, method in enumerate(methods):
            if method in row and row[method].speedup:
                _interval(axis, at, row[method], data.looks[method])
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
    axis.plot([s.low, s.high], [at, at], color=look.color, linewidth=2.5, alpha=0.6)
    axis.plot(s.value, at, look.marker, color=look.color, markersize=6)
    axis.annotate(
        f"{s.value:.2f}",
        (s.value, at),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )
