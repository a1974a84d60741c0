"""A sweep: maps as pictures and tables in a folder."""

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

PREDICTED = "A prediction, nothing measured"
_REQUESTS, _REQUESTS_A_WINDOW = 6, 4  # a cell; shares of accepted steps are even, so few will do

Begin: TypeAlias = Callable[[str, int], Callable[[], None]]
"""Called with a map's name and its number of cells; gives what is called after each cell."""


def draw_maps(base: Scenario, verdict: float, out: Path, begin: Begin) -> list[Path]:
    """Speed-up over acceptance and cost, on two devices and on one; the best window. The files.

    Raises:
        Unsupported: matplotlib is missing. OSError: the folder cannot be written.
    """
    base = replace(base, requests=_REQUESTS, even=True)
    cells = len(sweeps.ACCEPTANCES) * len(sweeps.RATIOS)
    window = base.options.window
    note = (
        f"{PREDICTED}: {base.method} in virtual time, window {window}, verdict {verdict:g}, "
        f"{base.steps} steps of {base.target_steps.mean:g} tokens{_trusting(base)}"
    )
    for name, devices, title in (
        ("speedup", base.devices, f"Speed-up of {base.method}, a device for each model"),
        (
            "colocated",
            replace(base.devices, colocated=True),
            f"Speed-up of {base.method}, one device",
        ),
    ):
        told = begin(name, cells)
        found = sweeps.speedup_map(replace(base, devices=devices), verdict, told)
        found.write_csv(out / f"{name}.csv")
        plots.draw_speedup(found, out / f"{name}.png", title, note)
    found = sweeps.window_map(
        replace(base, requests=_REQUESTS_A_WINDOW),
        begin("window", len(sweeps.RATIOS) * len(sweeps.VERDICTS)),
    )
    found.write_csv(out / "window.csv")
    plots.draw_windows(
        found,
        out / "window.png",
        f"The least window that is as good as any (within 1 %), acceptance {base.acceptance:g}",
        f"{PREDICTED}: {base.method} in virtual time, a device for each model{_trusting(base)}",
    )
    return _files(out, "speedup", "colocated", "window")


def draw_pair(
    base: Scenario, pair: str, named: Sequence[tuple[str, ModelPair]], out: Path, begin: Begin
) -> list[Path]:
    """Speed-up of a named pair over acceptance, on each number of named devices. The files.

    Raises:
        BadScenario: it fits nowhere. Unsupported, OSError: as `draw_maps`.
    """
    base = replace(base, requests=_REQUESTS, even=True)
    cells = len(named) * len(sweeps.PAIR_ACCEPTANCES)
    rows = sweeps.pair_rows(named, base, begin(pair, cells))
    if not rows:
        raise BadScenario("the target does not fit on 8 such devices: name another gpu")
    stem = pair.replace("/", "-").replace(":", "-int").lower()
    sweeps.write_pair_csv(rows, out / f"{stem}.csv")
    first = named[0][1]
    plots.draw_pair(
        rows,
        out / f"{stem}.png",
        f"{first.draft.name} drafts for {first.target.name} ({first.target.bits}-bit weights): "
        f"speed-up of {base.method}",
        f"{PREDICTED}. Over the target alone on its own devices; hatched: all devices together "
        f"do more for the target alone{_trusting(base)}",
    )
    return _files(out, stem)


def _trusting(base: Scenario) -> str:
    """What else has to be said of the scenario, in a line of its own."""
    said = (
        [f"{base.skipped_verification:.0%} of the accepted steps unseen"]
        if base.skipped_verification
        else []
    )
    if base.options.final_answer == "draft":
        said.append("the draft's answers, verified")
    return "\n" + ", ".join(said) if said else ""


def _files(out: Path, *stems: str) -> list[Path]:
    return [out / f"{stem}.{kind}" for stem in stems for kind in ("csv", "png")]
