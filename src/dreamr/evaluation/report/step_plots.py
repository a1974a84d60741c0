"""Plots of steps: acceptance by threshold, and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dreamr.evaluation.report.canvas import PlotData, panels, same_scale, shared_legend
from dreamr.evaluation.report.lanes import score_name
from dreamr.evaluation.report.methods import BASE, FLOOR
from dreamr.evaluation.report.results import THRESHOLDS, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THIN = 1.3  # width of the last curve, in points
# Width that each curve before it has in addition: enough to be seen beside the next one.
_THINNER, _MOST_THINNER = 1.3, 6.5


def acceptance(data: PlotData) -> Figure | None:
    """Plot the share of accepted steps, and of wrong decisions, over the threshold."""
    curves = {
        task: {m: f.curve for m, f in data.results.of(task, data.concurrency).items() if f.curve}
        for task in data.results.tasks
    }
    curves = {task: row for task, row in curves.items() if row}
    names = {
        "accepted": "steps accepted (%)",
        "false_accepts": "wrong steps accepted (%)",
        "false_rejects": "right steps rejected (%)",
    }
    shown = [
        name
        for name in names
        if any(getattr(c, name) for row in curves.values() for c in row.values())
    ]
    if not shown:
        return None
    figure, axes = panels(len(curves), len(shown), width=3.8, height=2.5)
    for column, (task, row) in enumerate(curves.items()):
        for axis, name in zip(axes[:, column], shown, strict=True):
            _thresholds(axis, {m: getattr(c, name) for m, c in row.items()}, data)
            axis.set_ylabel(names[name] if not column else "")
        axes[0, column].set_title(task)
        axes[-1, column].set_xlabel("threshold")
    same_scale(axes)
    shared_legend(figure, axes)
    return figure


def _thresholds(axis: Axes, shares: Mapping[str, Sequence[float] | None], data: PlotData) -> None:
    axis.set_xlim(0, 1)
    for at, (method, values) in enumerate(shares.items()):
        if values is not None:
            look = data.looks[method]
            axis.plot(
                THRESHOLDS,
                [100 * value for value in values],
                color=look.color,
                ls=look.line,
                # Thinner with each method: curves of methods with the same gate often coincide.
                lw=_THIN + min(_THINNER, _MOST_THINNER / len(shares)) * (len(shares) - 1 - at),
                label=_with_kind(method, data),
            )


def _with_kind(method: str, data: PlotData) -> str:
    """Return a method's name with the kinds of its scores, if the samples record them."""
    spans = (span for sample in data.alone(method=method) for span in sample.spans)
    kinds = {span.kind for span in spans if span.ratio is not None and span.kind is not None}
    names = " and ".join(sorted(map(score_name, kinds)))
    return f"{method} ({names})" if names else method


def chosen(results: Results) -> str | None:
    """Return the method shown in detail: `fpsr` if it was run, else the last one with a draft."""
    able = [m for m in results.methods if m not in (BASE, FLOOR)]
    return "fpsr" if "fpsr" in able else able[-1] if able else None


def step_lengths(data: PlotData) -> Figure | None:
    """Plot the lengths of the draft's and the target's steps by their fate."""
    method = chosen(data.results)
    if method is None:
        return None
    kinds = {
        "drafted, accepted": ("draft", "accepted", "#2f8f5b", "-"),
        "drafted, rejected": ("draft", "rejected", "#d55e00", "--"),
        "target's step": ("target", "kept", "#2f6fd0", "-."),
    }
    figure, axes = panels(len(data.results.tasks), width=3.8, height=3.1)
    drawn = False
    for axis, task in zip(axes[0], data.results.tasks, strict=True):
        spans = [s for x in data.alone(task=task, method=method) for s in x.spans]
        sizes = {
            name: [s.tokens for s in spans if (s.lane, s.fate) == (lane, fate)]
            for name, (lane, fate, _, _) in kinds.items()
        }
        most = max((size for values in sizes.values() for size in values), default=0)
        bins = np.arange(0, most + 2 * _bin(most), _bin(most))
        for name, (_, _, color, line) in kinds.items():
            if values := sizes[name]:
                drawn = True
                shares = 100 * np.histogram(values, bins)[0] / len(values)
                axis.stairs(shares, bins, color=color, ls=line, lw=1.8, label=name)
        axis.set_title(f"{task}: {sum(map(len, sizes.values())):,} steps")
        axis.set_xlabel("tokens per step")
    axes[0, 0].set_ylabel("share of steps (%)")
    figure.suptitle(f"Step lengths with {method}", x=0.01, ha="left", fontweight="bold")
    if drawn:
        shared_legend(figure, axes)
    return figure if drawn else None


def _bin(most: int) -> int:
    """Return the width of a bin in tokens, for about twelve bins."""
    return max(1, round(most / 12))
