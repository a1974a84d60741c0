"""What every plot is drawn from, and on. matplotlib is imported when the first one is drawn."""

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

_SHADES = 128


@dataclass(frozen=True, slots=True)
class PlotData:
    """What every plot is drawn from. concurrency: the least, at which speed is compared."""

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


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """What is drawn within has this theme."""
    import matplotlib as mpl

    with mpl.rc_context(cast("Any", theme.config)):
        yield


def panels(
    columns: int, rows: int = 1, *, width: float = 4.0, height: float = 3.2
) -> tuple[Figure, Any]:
    """A figure without a window, whatever backend the user has chosen, and its axes (rows, k)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def to_png(figure: Figure) -> bytes:
    """The same bytes for the same samples. Some shades less make it a third of the size."""
    drawn, packed = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_SHADES).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def same_scale(axes: Any) -> None:
    """One scale for all panels of a row, from 0."""
    for row in axes:
        top = max(axis.get_ylim()[1] for axis in row)
        for axis in row:
            axis.set_ylim(0, top)


def shared_legend(figure: Figure, axes: Any) -> None:
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
