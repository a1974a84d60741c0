"""All plots of a report as PNG, for a light or a dark page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dreamr.evaluation.bench import Sample
from dreamr.evaluation.report.canvas import PlotData, style, to_png
from dreamr.evaluation.report.results import Results
from dreamr.evaluation.report.speed_plots import risk, speedup_accuracy, speedup_tasks
from dreamr.evaluation.report.step_plots import acceptance, step_lengths
from dreamr.evaluation.report.theme import Theme
from dreamr.evaluation.report.time_plots import concurrency, latency

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(results: Results, samples: Sequence[Sample], *, dark: bool = False) -> dict[str, bytes]:
    """Draw all plots for which there is data.

    Args:
        results: Figures of the samples.
        samples: Samples of the bench.
        dark: Whether the plots are for a dark page.

    Returns:
        PNG images by name: speedup-accuracy, risk, speedup-tasks, acceptance, steps, latency and
        concurrency.
    """
    if not results.cells:
        return {}
    data = PlotData(results, samples, Theme(dark))
    painters: dict[str, Callable[[PlotData], Figure | None]] = {
        "speedup-accuracy": speedup_accuracy,
        "risk": risk,
        "speedup-tasks": speedup_tasks,
        "acceptance": acceptance,
        "steps": step_lengths,
        "latency": latency,
        "concurrency": concurrency,
    }
    with style(data.theme):
        drawn = {name: paint(data) for name, paint in painters.items()}
        return {name: to_png(figure) for name, figure in drawn.items() if figure is not None}
