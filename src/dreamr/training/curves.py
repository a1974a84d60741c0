"""Plot the logs of trainings."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from dreamr._output_files import replace_file, writing
from dreamr.errors import Unsupported
from dreamr.training.errors import BadTraining
from dreamr.training.folder import Log

_DOTS = 110  # per inch
_COLUMNS = 3
_NOT_DRAWN = ("step", "seconds", "samples_per_second", "learning_rate")
_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito


def draw_curves(folders: Sequence[Path], out: Path) -> None:
    """Plot the logs of trainings, one panel per column of log.csv and one color per training.

    Thick lines are moving averages over a twentieth of the steps.

    Args:
        folders: Folders of trainings, finished or running.
        out: PNG file to write.

    Raises:
        BadTraining: If a folder has no log.csv, or one that is empty or broken.
        Unwritable: If the file cannot be written.
        Unsupported: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise Unsupported("plotting needs matplotlib: pip install 'dreamr[train]'") from error
    logs = {folder: _columns(folder) for folder in folders}
    names = list(dict.fromkeys(name for log in logs.values() for name in log))
    panels = [name for name in names if name not in _NOT_DRAWN]
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 2.3 * rows), layout="constrained")
    for place, name in enumerate(panels):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        for (folder, log), color in zip(logs.items(), _COLORS * len(logs), strict=False):
            if name in log:
                steps, values = log[name]
                axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.6)
                axes.plot(steps, _smooth(values), color=color, linewidth=1.6, label=folder.name)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e2e0db", linewidth=0.6)
        if place == 0 and len(logs) > 1:
            axes.legend(frameon=False, fontsize=8)
    with writing(out):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=_DOTS)
        replace_file(out, drawn.getvalue())


def _columns(folder: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Return steps and values of each column that is not empty."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in Log(folder, ()).rows():
        for name, value in row.items():
            if value:
                steps, values = found.setdefault(name, ([], []))
                steps.append(int(row["step"]))
                values.append(float(value))
    if not found:
        raise BadTraining(
            f"{folder} has no log.csv with a row: name the folder of a training that has logged "
            "a step"
        )
    return found


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the moving average over a twentieth of the values."""
    half = max(1, len(values) // 40)
    windows = (values[max(0, at - half) : at + half + 1] for at in range(len(values)))
    return [sum(window) / len(window) for window in windows]
