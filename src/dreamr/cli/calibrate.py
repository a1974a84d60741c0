"""`dreamr calibrate`: a gate for a pair and a kind of problems, with a promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dreamr._option_specs import OptionSpec
from dreamr._options import RunOptions
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.evaluation.calibration import (
    RUN_OPTIONS,
    Calibrated,
    CalibrateOptions,
    calibrate,
    calibration_total,
)
from dreamr.gate import strictness, write_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Where the profile goes."""

    out: Annotated[Path, OptionSpec("The profile, a JSON file.", "Output")]


def calibrate_command(open_model: OpenModel) -> Callable[..., None]:
    """The command."""
    options = Declared(OutOptions), Declared(CalibrateOptions), run_flags(RUN_OPTIONS)
    return command(_calibrate, *options, open_model=open_model)


def _calibrate(
    place: OutOptions, options: CalibrateOptions, run: RunOptions, open_model: OpenModel
) -> None:
    """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

    By steps, the draft writes, the target judges all of it, and the task's checker says what
    was right. By answers, the target alone and then fpsr with a few gates, from the strictest
    on, solve every problem. By learn-then-test, what is promised holds for new problems of the
    same kind, with the stated confidence. The profile is what `--profile` of the other commands
    takes.
    """
    console = stderr_console()
    unit = "problems" if options.by == "steps" else "runs"
    with shown(console, calibration_total(options), unit) as show:
        found = anyio.run(
            partial(
                calibrate,
                options,
                run,
                open_model=open_model,
                on_progress=lambda progress: show(progress.done, progress.last),
            )
        )
    console.print(_table(found.tested))
    write_profile(place.out, found.require_profile())
    print(place.out)


def _table(found: Calibrated) -> Table:
    """The candidates that make a difference, the chosen one marked."""
    table = Table("threshold", "accepted", "tokens", "errors", "risk at most", "", box=SIMPLE_HEAD)
    for column in table.columns[1:5]:
        column.justify = "right"
    before = None
    for one in found.candidates:
        if before == (one.accepted, one.tested.errors) and one is not found.chosen:
            continue
        before = (one.accepted, one.tested.errors)
        table.add_row(
            f"{strictness(one.gate):.4g}",
            f"{one.accepted:.1%}",
            f"{one.accepted_tokens:.1%}",
            f"{one.tested.errors} of {one.tested.cases}",
            f"{one.tested.upper:.2%}",
            "chosen" if one is found.chosen else "",
        )
    return table
