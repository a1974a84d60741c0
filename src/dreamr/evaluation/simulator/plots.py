"""Images of maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamr._output_files import replace_file
from dreamr.errors import Unsupported
from dreamr.evaluation.simulator.sweep import PAIR_ACCEPTANCES, WINDOWS, Map, PairRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS = 110  # per inch
_LEVELS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_TICKS = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_NOTE = "#555555"
_PAIRS = ((0.12, "2B / 32B"), (0.20, "4B / 32B"), (0.45, "2B / 30B-A3B"))  # measured draft costs
_PAPER = 0.526  # acceptance of the pair 2B / 32B on MathVerse in arXiv 2605.28678


def draw_speedup(found: Map, path: Path, title: str, note: str) -> None:
    """Draw a speed-up map with contour lines; the region below 1x is gray and hatched."""
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
    axes.set_xlabel("Acceptance of a drafted step")
    axes.set_ylabel("Cost of a drafted step (target step = 1)")
    bar = figure.colorbar(filled, ax=axes, pad=0.02, ticks=levels)
    bar.ax.set_yticklabels([f"{level:g}x" for level in levels])
    bar.set_label("Speed-up over the target alone")
    _save(figure, path)


def draw_windows(found: Map, path: Path, title: str, note: str) -> None:
    """Draw a map of the best window, one color per window."""
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
    axes.set_xlabel("Cost of a drafted step (target step = 1)")
    axes.set_ylabel("Cost of a judge call (target step = 1)")
    _save(figure, path)


def draw_pair(rows: Sequence[PairRow], path: Path, title: str, note: str) -> None:
    """Draw a colored table; cells are hatched where the target alone on all devices is faster."""
    figure, axes = _figure(title, note, height=1.9 + 0.34 * len(rows))
    colors = _colors(256)
    low, high = 0.75, 3.0
    for j, row in enumerate(rows):
        for i, (value, equal) in enumerate(zip(row.speedups, row.equal_devices, strict=True)):
            share = min(1.0, max(0.0, (value - low) / (high - low)))
            axes.add_patch(_cell(i, j, colors(share), hatched=equal < 1))
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
    axes.set_yticks(range(len(rows)), [f"{row.gpu}, {row.placement}" for row in rows])
    axes.tick_params(length=0)
    axes.set_xlabel("Acceptance of a drafted step")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DOTS)
    replace_file(path, drawn.getvalue())


def _figure(title: str, note: str, height: float = 4.9) -> tuple[Figure, Axes]:
    """Create a figure without pyplot, which has global state and opens windows."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise Unsupported("drawing maps needs matplotlib: pip install 'dreamr[bench]'") from error
    figure = Figure(figsize=(7.4, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    figure.supxlabel(note, fontsize=7.5, color=_NOTE)
    return figure, axes


def _label_slow(axes: Axes, found: Map) -> None:
    """Label the hatched region near its top left, where it is highest."""
    slow = [x for x, value in zip(found.xs, found.values[-1], strict=True) if value < 1]
    axes.text(
        slow[len(slow) // 4] if slow else found.xs[0],
        found.ys[-2],
        "Slower than the target alone",
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
