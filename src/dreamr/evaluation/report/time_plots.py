"""Plots of latency, and of throughput over concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamr.evaluation.report.canvas import PlotData, panels, shared_legend
from dreamr.evaluation.report.results import MEAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def latency(data: PlotData) -> Figure | None:
    """Plot the share of problems that are answered within a time."""
    figure, axes = panels(len(data.results.tasks), width=3.8, height=3.3)
    drawn = False
    for axis, task in zip(axes[0], data.results.tasks, strict=True):
        for method in data.results.methods:
            of = data.alone(task=task, method=method)
            if seconds := sorted(s.seconds for s in of if s.finish != "failed" and s.seconds > 0):
                drawn = True
                look = data.looks[method]
                axis.ecdf(seconds, color=look.color, ls=look.line, lw=1.6, label=method)
        axis.set_xscale("log")
        axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
        _seconds_axis(axis)
        axis.set_title(task)
        axis.set_xlabel("seconds to the answer (log scale)")
    axes[0, 0].set_ylabel("share of problems (%)")
    if drawn:
        shared_legend(figure, axes)
    return figure if drawn else None


def _seconds_axis(axis: Axes) -> None:
    """Label powers of ten in plain numbers, and 2 and 5 times those if there is room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 60 * low else (1.0,)))
    axis.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def concurrency(data: PlotData) -> Figure | None:
    """Plot throughput and median latency over concurrency, on the mean over tasks."""
    sides = data.results.concurrencies
    if len(sides) < 2:
        return None
    figure, axes = panels(2, width=4.6, height=3.5)
    for method in data.results.methods:
        found = {c: f for c in sides if (f := data.results.cells.get((MEAN, method, c)))}
        look = data.looks[method]
        for axis, name in zip(axes[0], ("throughput", "latency_p50"), strict=True):
            values = [getattr(f, name) for f in found.values()]
            axis.plot(
                list(found),
                values,
                color=look.color,
                ls=look.line,
                marker=look.marker,
                label=method,
            )
    for axis, name in zip(
        axes[0], ("problems per second", "seconds per problem, p50"), strict=True
    ):
        axis.set_xscale("log", base=2)
        axis.set_xticks(sides, [str(side) for side in sides])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("concurrent problems")
        axis.set_title(name)
    shared_legend(figure, axes)
    return figure
