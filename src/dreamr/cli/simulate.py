"""`dreamr simulate`: predict speed-ups on hardware that is not available."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dreamr._option_rules import RUN_RULES
from dreamr._option_specs import OptionRules
from dreamr._options import RunOptions
from dreamr._output_files import writing
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.screen import stdout_console
from dreamr.evaluation.simulator.options import (
    RUN_OPTIONS,
    SIMULATE_RULES,
    SimulateOptions,
    simulate_cases,
)
from dreamr.evaluation.simulator.scenario import Scenario
from dreamr.evaluation.simulator.tables import Row, compared, placed_pairs, replayed

EPILOG = epilog(
    "dreamr simulate --acceptance 0.8 --draft-cost 0.1",
    "dreamr simulate --models 2B/32B --gpu H100 --gpu L40S",
    "dreamr simulate --replay runs/b",
    "dreamr simulate --sweep --out maps",
    notes=("Guide: docs/guides/simulator.md",),
)
_RULES = OptionRules((*SIMULATE_RULES, *RUN_RULES), cases=simulate_cases)
_WIDTH = 120  # columns without a terminal
_PREDICTED = "A prediction, not a measurement"


def _simulate(options: SimulateOptions, run: RunOptions) -> None:
    """Predict speed-ups by running the schedules of the methods in virtual time.

    Without --models and --replay, the unit of time is a target step, and the table also has the
    closed form of each speed-up. All results are predictions, not measurements.
    """
    if options.replay is not None:
        found = replayed(options.replay, options.method)
        for method, why in found.left_out.items():
            print(f"warning: {method} is left out: {why}", file=sys.stderr)
        _show(found.rows, f"{options.replay}, replayed in virtual time", options.as_json)
        return
    scenario = options.scenario(run)
    if options.out is not None:
        _draw(scenario, options, options.out)
        return
    what = _acceptance(scenario)
    if options.models is not None:
        rows = placed_pairs(options.pairs(), scenario, options.methods)
        title = f"{options.models}, {what}."
    else:
        draft_cost, judge_cost = options.draft_cost, options.judge_cost
        rows = compared(scenario, options.methods, draft_cost, judge_cost)
        title = f"{what.capitalize()}, draft cost {draft_cost:g}, judge cost {judge_cost:g}."
    _show(rows, f"{title} {_PREDICTED}.", options.as_json)


simulate_command = command(
    _simulate, Declared(SimulateOptions), run_flags(RUN_OPTIONS), rules=_RULES
)


def _acceptance(scenario: Scenario) -> str:
    skipped = scenario.skipped_verification
    share = f" ({skipped:.0%} of accepted steps skip verification)" if skipped else ""
    return f"acceptance {scenario.acceptance:g}{share}"


def _draw(scenario: Scenario, options: SimulateOptions, out: Path) -> None:
    from dreamr.evaluation.simulator import maps

    def begin(what: str, cells: int) -> Callable[[], None]:
        task = progress.add_task(what, total=cells)
        return lambda: progress.advance(task)

    named = options.pairs()
    with (
        writing(out, "name another folder"),
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        out.mkdir(parents=True, exist_ok=True)
        if options.models is not None:
            written = maps.draw_pair(scenario, options.models, named, out, begin)
        else:
            written = maps.draw_maps(scenario, options.judge_cost, out, begin)
    for path in written:
        print(path)


_FORMATS = {"off by": "{:+.1%}", "problems": "{:d}"}
_SHARES = ("accepted", "draft busy", "target busy", "judge busy", "wasted")
_WHOLE = ("draft t/s", "target t/s")


def _show(rows: Sequence[Row], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"title": title, "rows": rows}, indent=2))
        return
    table = Table(
        title=title, title_justify="left", title_style="dim", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for name in rows[0]:
        words = isinstance(rows[0][name], str)
        style = "bold" if name in ("speed-up", "predicted") else None
        table.add_column(name, justify="left" if words else "right", style=style, no_wrap=words)
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    stdout_console(_WIDTH).print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if name in _FORMATS:
        return _FORMATS[name].format(value)
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:.0f}" if name in _WHOLE else f"{value:.2f}"
