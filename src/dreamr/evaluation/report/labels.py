"""Placement of labels next to points without overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from dreamr.evaluation.report.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Spot: TypeAlias = tuple[Estimate, Estimate]

_CORNERS = ((1, 1), (-1, 1), (1, -1), (-1, -1))


def label(axis: Axes, shown: Mapping[str, Spot], colors: Mapping[str, str]) -> None:
    """Write each name next to its point, in the nearest free place.

    If there is none, a name may cross the bars of an interval. A name far from its point is
    connected to it by a line.

    Args:
        axis: Axes after layout, with the points and their error bars.
        shown: Position of each point (x and y with intervals), by the name to write.
        colors: Color of each name's frame and line.
    """
    pixel = _pixel(axis)
    spots = [_spots(axis, spot) for spot in shown.values()]
    taken, bars = [point for point, _ in spots], [bar for _, both in spots for bar in both]
    for name, (x, y) in shown.items():
        point = (x.value, y.value)
        text = axis.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9.5,
            bbox={"boxstyle": "round,pad=0.2", "fc": "none", "ec": colors[name], "lw": 0.9},
            arrowprops={"arrowstyle": "-", "color": colors[name], "lw": 0.8, "shrinkB": 5},
        )
        size = text.get_window_extent()
        spot = axis.transData.transform(point)
        half = size.width / 2 + 4 * pixel, size.height / 2 + 4 * pixel
        dx, dy, box = _free(spot[0], spot[1], half, pixel, (taken, bars), axis.bbox)
        text.set_position((dx / pixel, dy / pixel))
        taken.append(box)
        near = abs(dx) <= half[0] + 12 * pixel and abs(dy) <= half[1] + 12 * pixel
        if near and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)


def _spots(axis: Axes, spot: Spot) -> tuple[Bbox, list[Bbox]]:
    """Return the boxes of a point and of its two error bars, in pixels."""
    x, y, pixel = *spot, _pixel(axis)
    left, low = axis.transData.transform((x.low, y.low))
    right, high = axis.transData.transform((x.high, y.high))
    at = axis.transData.transform((x.value, y.value))
    bars = [
        _box((left + right) / 2, at[1], (right - left) / 2, pixel),
        _box(at[0], (low + high) / 2, pixel, (high - low) / 2),
    ]
    return _box(at[0], at[1], 7 * pixel, 7 * pixel), bars


def _pixel(axis: Axes) -> float:
    """Return the pixels per typographic point."""
    return float(axis.figure.dpi) / 72


def _free(
    x: float,
    y: float,
    half: tuple[float, float],
    pixel: float,
    taken: tuple[Sequence[Bbox], Sequence[Bbox]],
    inside: Bbox,
) -> tuple[float, float, Bbox]:
    """Find the nearest offset at which a label touches no taken box.

    Args:
        x: Position of the point in pixels.
        y: Position of the point in pixels.
        half: Half the width and height of the label in pixels.
        pixel: Pixels per typographic point.
        taken: Boxes that must not be touched, and boxes that may be if there is no other place.
        inside: Box that the label must stay in.

    Returns:
        Horizontal and vertical offset in pixels, and the label's box.
    """
    places = []
    for gap in (10 * pixel * ring for ring in range(1, 22)):
        right, up = half[0] + gap, half[1] + gap
        places += [(right, 0), (-right, 0), (0, up), (0, -up)]
        places += [(side * way, end * up) for way in (right, half[0]) for side, end in _CORNERS]
    boxes = [(dx, dy, _box(x + dx, y + dy, *half)) for dx, dy in places]
    boxes = [place for place in boxes if inside.count_contains(place[2].corners()) == 4]
    for obstacles in ([*taken[0], *taken[1]], taken[0]):
        for place in boxes:
            if not place[2].count_overlaps(obstacles):
                return place
    return boxes[-1]


def _box(x: float, y: float, half_width: float, half_height: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(x - half_width, y - half_height, x + half_width, y + half_height)
