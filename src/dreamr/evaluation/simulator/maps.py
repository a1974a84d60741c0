"""Maps of predicted speed-ups: images and CSV files in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from dreamr.evaluation.simulator import plots as plots
from dreamr.evaluation.simulator import sweep as sweeps
from dreamr.evaluation.simulator.devices import BadScenario
from dreamr.evaluation.simulator.machines import ModelPair
from dreamr.evaluation.simulator.scenario import Scenario

PREDICTED = "Predicted, not measured"
# Requests per cell. Few are enough, because each has exactly the stated share of accepted steps.
_REQUESTS, _REQUESTS_PER_WINDOW = 6, 4

Begin: TypeAlias = Callable[[str, int], Callable[[], None]]
"""Called with the name of a map and its number of cells; returns a callback for each cell."""


def draw_maps(base: Scenario, verdict: float, out: Path, begin: Begin) -> list[Path]:
    """Draw the speed-up on two devices and on one, and the best window.

    The speed-up is a function of acceptance and draft cost. The best window is a function of draft
    cost and judge cost.

    Args:
        base: The scenario; its costs are replaced.
        verdict: Cost of a judge call, in target-step units.
        out: Folder for the files.
        begin: Reports progress.

    Returns:
        The files.

    Raises:
        Unsupported: If matplotlib is not installed.
        OSError: If a file cannot be written.
    """
    base = replace(base, requests=_REQUESTS, even=True)
    cells = len(sweeps.ACCEPTANCES) * len(sweeps.RATIOS)
    window = base.options.window
    note = (
        f"{PREDICTED}: {base.method} in virtual time, window {window}, judge cost {verdict:g}, "
        f"{base.steps} steps of {base.target_steps.mean:g} tokens{_deviations(base)}"
    )
    for name, devices, title in (
        ("speedup", base.devices, f"Speed-up of {base.method}, one device per model"),
        (
            "colocated",
            replace(base.devices, colocated=True),
            f"Speed-up of {base.method}, both models on one device",
        ),
    ):
        on_cell = begin(name, cells)
        found = sweeps.speedup_map(replace(base, devices=devices), verdict, on_cell)
        found.write_csv(out / f"{name}.csv")
        plots.draw_speedup(found, out / f"{name}.png", title, note)
    found = sweeps.window_map(
        replace(base, requests=_REQUESTS_PER_WINDOW),
        begin("window", len(sweeps.RATIOS) * len(sweeps.VERDICTS)),
    )
    found.write_csv(out / "window.csv")
    plots.draw_windows(
        found,
        out / "window.png",
        f"Smallest window within 1% of the best, acceptance {base.acceptance:g}",
        f"{PREDICTED}: {base.method} in virtual time, one device per model{_deviations(base)}",
    )
    return _files(out, "speedup", "colocated", "window")


def draw_pair(
    base: Scenario, pair: str, named: Sequence[tuple[str, ModelPair]], out: Path, begin: Begin
) -> list[Path]:
    """Draw the speed-up of a pair as a function of acceptance, for each placement.

    Args:
        base: The scenario; its costs and devices are replaced.
        pair: Name of the pair, from which the names of the files follow.
        named: The pair on each kind of device, with the name of the device.
        out: Folder for the files.
        begin: Reports progress.

    Returns:
        The files.

    Raises:
        BadScenario: If the pair does not fit on any number of the devices.
        Unsupported: If matplotlib is not installed.
        OSError: If a file cannot be written.
    """
    base = replace(base, requests=_REQUESTS, even=True)
    cells = len(named) * len(sweeps.PAIR_ACCEPTANCES)
    rows = sweeps.pair_rows(named, base, begin(pair, cells))
    if not rows:
        raise BadScenario("the target does not fit on 8 of these devices: choose another GPU")
    stem = pair.replace("/", "-").replace(":", "-int").lower()
    sweeps.write_pair_csv(rows, out / f"{stem}.csv")
    first = named[0][1]
    plots.draw_pair(
        rows,
        out / f"{stem}.png",
        f"{first.draft.name} drafts for {first.target.name} ({first.target.bits}-bit weights): "
        f"speed-up of {base.method}",
        f"{PREDICTED}. Baseline: the target alone on its own devices. Hatched: the target alone "
        f"on all devices is faster{_deviations(base)}",
    )
    return _files(out, stem)


def _deviations(base: Scenario) -> str:
    """Return a line that names the scenario's optional settings, or an empty string."""
    notes = (
        [f"{base.skipped_verification:.0%} of the accepted steps skip verification"]
        if base.skipped_verification
        else []
    )
    if base.options.final_answer == "draft":
        notes.append("final answers by the draft, judged")
    return "\n" + ", ".join(notes) if notes else ""


def _files(out: Path, *stems: str) -> list[Path]:
    return [out / f"{stem}.{kind}" for stem in stems for kind in ("csv", "png")]
