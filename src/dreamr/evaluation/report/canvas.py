"""Data and helpers that all plots share. matplotlib is imported with the first plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from dreamr.evaluation.bench import Sample
from dreamr.evaluation.report.methods import rank
from dreamr.evaluation.report.results import Results
from dreamr.evaluation.report.theme import Look, Theme, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = 128  # of the palette of a PNG


@dataclass(frozen=True, slots=True)
class PlotData:
    """Data of a plot.

    Attributes:
        results: Figures of the bench.
        samples: Samples of the bench.
        theme: Colors of the page.
        looks: Color, marker and line of each method.
        concurrency: Lowest concurrency of the bench, at which methods are compared.
    """

    results: Results
    samples: Sequence[Sample]
    theme: Theme
    looks: Mapping[str, Look] = field(init=False)
    concurrency: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", looks(self.results.methods, self.theme))
        object.__setattr__(self, "concurrency", self.results.concurrencies[0])

    def alone(self, **of: Any) -> list[Sample]:
        """Return the samples at that concurrency whose fields have the given values."""
        wanted = {"concurrency": self.concurrency, **of}
        return [s for s in self.samples if all(getattr(s, k) == v for k, v in wanted.items())]


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Apply a theme to all plots drawn in the block."""
    import matplotlib as mpl

    with mpl.rc_context(cast("Any", theme.config)):
        yield


def panels(
    columns: int, rows: int = 1, *, width: float = 4.0, height: float = 3.2
) -> tuple[Figure, Any]:
    """Create a figure without a window, whatever backend the user has configured.

    Args:
        columns: Number of panels in a row.
        rows: Number of rows.
        width: Width of a panel in inches.
        height: Height of a panel in inches.

    Returns:
        The figure and its axes, shape (rows, columns).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def to_png(figure: Figure) -> bytes:
    """Render a figure as PNG, reproducibly. A palette makes it a third of the size."""
    canvas, packed = cast("Any", figure.canvas), BytesIO()
    canvas.draw()  # savefig would compute the layout twice
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    drawn.convert("RGB").quantize(_COLORS).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def same_scale(axes: Any) -> None:
    """Give all panels of a row the same y axis, starting at 0."""
    for row in axes:
        top = max(axis.get_ylim()[1] for axis in row)
        for axis in row:
            axis.set_ylim(0, top)


def shared_legend(figure: Figure, axes: Any) -> None:
    """Add one legend for all panels below them."""
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
