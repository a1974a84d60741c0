"""`dreamr calibrate`: find a gate with a bounded risk for a pair of models and a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from rich.box import SIMPLE_HEAD
from rich.table import Table

from dreamr._option_rules import MODEL_RULES
from dreamr._option_specs import OptionRules, OptionSpec, Unused
from dreamr._options import RunOptions
from dreamr._output_files import Output, writing
from dreamr._plugins import import_plugins
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.progress import shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel, is_served
from dreamr.evaluation.bench import check_trained
from dreamr.evaluation.calibration import (
    RUN_OPTIONS,
    Calibrated,
    CalibrateOptions,
    Calibration,
    calibrate,
    calibration_total,
)
from dreamr.evaluation.calibration.options import CALIBRATE_RULES
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import strictness

EPILOG = epilog(
    "dreamr calibrate --task docmath --risk 0.003 --out profile.json",
    "dreamr calibrate --by answers --reference target --out profile.json",
    'dreamr run "What is the total?" -a bill.png --profile profile.json',
    notes=(ENVIRONMENT, "Guide: docs/guides/gates.md"),
)
_RULES = OptionRules(
    (
        *CALIBRATE_RULES,
        Unused(
            ("target_confidence",), lambda o: is_served(o.target), "if --target is a server URL"
        ),
        *MODEL_RULES,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """Options of the output."""

    out: Annotated[Path, OptionSpec("JSON file to write the profile to.", "Output", writes=True)]


def calibrate_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    options = Declared(OutOptions), Declared(CalibrateOptions), run_flags(RUN_OPTIONS)
    return command(_calibrate, *options, rules=_RULES, open_model=open_model)


def _calibrate(
    place: OutOptions, options: CalibrateOptions, run: RunOptions, open_model: OpenModel
) -> None:
    """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

    With --by steps, the draft solves the problems, the target judges every step, and the task
    checks the steps. With --by answers, the target alone and fpsr with several gates, the
    strictest first, solve every problem. The bound holds for new problems of the same kind
    (learn-then-test). Other commands take the profile as --profile.
    """
    import_plugins(options.plugin)
    check_trained(task_names(options.task), run, ("target", "draft"))
    with writing(place.out):
        place.out.parent.mkdir(parents=True, exist_ok=True)
    with Output(place.out) as file:  # before the runs, which take long
        found = _calibrated(options, run, open_model)
        file.write(found.require_profile().text)
    print(place.out)


def _calibrated(options: CalibrateOptions, run: RunOptions, open_model: OpenModel) -> Calibration:
    console = stderr_console()
    unit = "problems" if options.by == "steps" else "runs"
    with shown(console, calibration_total(options), unit) as show:
        found = interrupts.run(
            partial(
                calibrate,
                options,
                run,
                open_model=open_model,
                on_progress=lambda progress: show(progress.done, progress.last),
            )
        )
    console.print(_table(found.tested))
    return found


def _table(found: Calibrated) -> Table:
    """Return a table of the candidates with different results; the chosen one is marked."""
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
