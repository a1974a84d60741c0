"""Maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr.errors import Unsupported
from dreamr.evaluation.simulator.sweep import PAIR_ACCEPTANCES, WINDOWS, Map, PairRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS = 110  # an inch
_LEVELS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_TICKS = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_NOTE = "#555555"
_PAIRS = ((0.12, "2B / 32B"), (0.20, "4B / 32B"), (0.45, "2B / 30B-A3B"))  # costs on real engines
_PAPER = 0.526  # step acceptance, arXiv 2605.28678, 2B / 32B on MathVerse


def draw_speedup(found: Map, path: Path, title: str, note: str) -> None:
    """Lines of equal speed-up; where there is none to be had, grey and hatched."""
    figure, axes = _figure(title, note)
    lowest = min(map(min, found.values))
    highest = max(max(map(max, found.values)), _LEVELS[3])
    levels = [level for level in _LEVELS if level <= highest]
    filled = axes.contourf(
        found.xs, found.ys, found.values, levels=levels, cmap="viridis", extend="max"
    )
    if lowest < 1:
        axes.contourf(
            found.xs, found.ys, found.values, levels=[0, 1], colors=["#dddddd"], hatches=["///"]
        )
        _label_slow(axes, found)
    lines = axes.contour(
        found.xs, found.ys, found.values, levels=levels, colors="white", linewidths=0.8
    )
    axes.clabel(lines, levels[1:], fmt=lambda level: f"{level:g}x", fontsize=8)
    for cost, name in _PAIRS:
        axes.plot(_PAPER, cost, "o", color="white", markeredgecolor="black", markersize=5)
        label = axes.text(_PAPER - 0.015, cost, name, ha="right", va="center", fontsize=8)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    _log_axis(axes, "y", found.ys)
    axes.set_xlabel("acceptance of a drafted step")
    axes.set_ylabel("cost of a drafted step (target's step = 1)")
    bar = figure.colorbar(filled, ax=axes, pad=0.02, ticks=levels)
    bar.ax.set_yticklabels([f"{level:g}x" for level in levels])
    bar.set_label("speed-up over the target alone")
    figure.savefig(path, dpi=_DOTS)


def draw_windows(found: Map, path: Path, title: str, note: str) -> None:
    """A colour for each window."""
    figure, axes = _figure(title, note)
    places = [[WINDOWS.index(int(value)) for value in row] for row in found.values]
    colors = _colors(len(WINDOWS))
    axes.pcolormesh(
        found.xs,
        found.ys,
        places,
        cmap=colors,
        vmin=-0.5,
        vmax=len(WINDOWS) - 0.5,
        shading="nearest",
        edgecolors="white",
        linewidth=0.5,
    )
    for y, row in zip(found.ys, found.values, strict=True):
        for x, value in zip(found.xs, row, strict=True):
            dark = value >= WINDOWS[-2]
            color = "black" if dark else "white"
            axes.text(x, y, f"{value:g}", ha="center", va="center", color=color, fontsize=8)
    _log_axis(axes, "x", found.xs)
    _log_axis(axes, "y", found.ys)
    axes.set_xlabel("cost of a drafted step (target's step = 1)")
    axes.set_ylabel("cost of a verdict (target's step = 1)")
    figure.savefig(path, dpi=_DOTS)


def draw_pair(rows: Sequence[PairRow], path: Path, title: str, note: str) -> None:
    """A table with colours; hatched where the devices do more for the target alone."""
    figure, axes = _figure(title, note, height=1.9 + 0.34 * len(rows))
    colors = _colors(256)
    low, high = 0.75, 3.0
    for j, row in enumerate(rows):
        for i, (value, honest) in enumerate(zip(row.speedups, row.honest, strict=True)):
            share = min(1.0, max(0.0, (value - low) / (high - low)))
            axes.add_patch(_cell(i, j, colors(share), hatched=honest < 1))
            color = "black" if share > 0.55 else "white"
            box = {"facecolor": colors(share), "edgecolor": "none", "pad": 1.5}
            text = axes.text(i, j, f"{value:.2f}", ha="center", va="center", color=color)
            text.set_bbox(box)
            text.set_fontsize(9)
        if j and row.gpu != rows[j - 1].gpu:
            axes.axhline(j - 0.5, color="black", linewidth=1)
    axes.set_xlim(-0.5, len(PAIR_ACCEPTANCES) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(PAIR_ACCEPTANCES)), [f"{a:g}" for a in PAIR_ACCEPTANCES])
    axes.set_yticks(range(len(rows)), [f"{row.gpu}, {row.place}" for row in rows])
    axes.tick_params(length=0)
    axes.set_xlabel("acceptance of a drafted step")
    figure.savefig(path, dpi=_DOTS)


def _figure(title: str, note: str, height: float = 4.9) -> tuple[Figure, Axes]:
    """Without pyplot: no state, no windows."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise Unsupported("drawing needs matplotlib: pip install 'dreamr[bench]'") from error
    figure = Figure(figsize=(7.4, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    figure.supxlabel(note, fontsize=7.5, color=_NOTE)
    return figure, axes


def _label_slow(axes: Axes, found: Map) -> None:
    """Say what the hatched region means, above its left half: there it is highest."""
    slow = [x for x, value in zip(found.xs, found.values[-1], strict=True) if value < 1]
    axes.text(
        slow[len(slow) // 4] if slow else found.xs[0],
        found.ys[-2],
        "switch it off",
        ha="center",
        va="center",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )


def _log_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    ticks = [tick for tick in _TICKS if values[0] <= tick <= values[-1]]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _colors(count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"].resampled(count)


def _cell(i: int, j: int, color: Any, hatched: bool) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (i - 0.48, j - 0.46),
        0.96,
        0.92,
        facecolor=color,
        edgecolor="#ffffff",
        linewidth=0,
        hatch="////" if hatched else None,
    )
