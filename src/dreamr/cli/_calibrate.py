"""`dreamr calibrate`: a gate for a pair and a kind of problems, with a promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dreamr._knobs import BadOption, listed
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._reasoner import Model, OpenModel
from dreamr.calibration import (
    KINDS,
    Calibrated,
    JudgedStep,
    Profile,
    calibrate,
    family,
    judged_steps,
    models_of,
    write_profile,
)
from dreamr.cli._flags import option_parameters, with_flags
from dreamr.cli._progress import Show, shown
from dreamr.cli._screen import stderr_console
from dreamr.errors import RunFailed
from dreamr.tasks import SUITES, Item, load
from dreamr.trace import Role

_MODELS = (
    "target", "draft", "target_model", "draft_model", "judge_question", "answer_marker", "device",
    "draft_device", "threads", "max_tokens", "sure",
)  # fmt: skip


def calibrate_command(open_model: OpenModel) -> Callable[..., int]:
    """The command."""

    def run(
        out: Annotated[Path, typer.Option("--out", help="The profile, a JSON file.")],
        task: Annotated[
            str, typer.Option("--task", help="Tasks, with commas between them.")
        ] = ",".join(SUITES),
        problems: Annotated[
            int, typer.Option("--problems", min=1, help="Problems of each task.")
        ] = 1000,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of the problems.")] = 0,
        gate: Annotated[str, typer.Option("--gate", help=f"One of {', '.join(KINDS)}.")] = "fixed",
        risk: Annotated[
            float, typer.Option("--risk", help="Bound on false accepts a judged step.")
        ] = 0.003,
        confidence: Annotated[
            float, typer.Option("--confidence", help="With which the bound is to hold.")
        ] = 0.95,
        plugin: Annotated[
            str | None, typer.Option("--plugin", help="Python modules to import first.")
        ] = None,
        **options: Any,
    ) -> int:
        """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

        The draft writes, the target judges all of it, and the task's checker says what was right.
        By learn-then-test, what is promised holds for new problems of the same kind, with the
        stated confidence. The profile is what `--profile` of the other commands takes.
        """
        for name, value in (("risk", risk), ("confidence", confidence)):
            if not 0 < value < 1:
                raise BadOption(f"{name} must lie between 0 and 1, not at {value}")
        if gate not in KINDS:
            raise BadOption(f"gate {gate!r} is unknown: choose one of {', '.join(KINDS)}")
        import_plugins(plugin)
        chosen = RunOptions(**options)
        names = listed(task)
        items = [item for name in names for item in load(name, limit=problems, seed=seed)]
        console = stderr_console()
        with shown(console, len(items), "problems") as show:
            steps = anyio.run(_steps, chosen, items, open_model, show)
        # A gate that learns is tested on steps that it has not seen: every other one of them.
        learnt, tested = (steps[::2], steps[1::2]) if gate == "learned" else ([], steps)
        found = calibrate(family(gate, learnt, sure=chosen.sure), tested, risk, confidence)
        console.print(_table(found))
        if found.chosen is None:
            least = found.candidates[0].tested
            raise RunFailed(
                f"no {gate} gate keeps {risk:g} with confidence {confidence:g}: the strictest has "
                f"{least.errors} errors in {least.cases} steps, so up to {least.upper:.2g} is "
                "possible; take more --problems, another --gate, or a larger --risk"
            )
        data = {"tasks": names, "seed": seed, "problems": len(items), "steps": len(tested)}
        best = found.chosen
        measured = {
            "errors": best.tested.errors,
            "upper": best.tested.upper,
            "accepted": best.accepted,
            "accepted_tokens": best.accepted_tokens,
        }
        write_profile(out, Profile(best.gate, risk, confidence, models_of(chosen), data, measured))
        print(out)
        return 0

    flags = [flag for flag in option_parameters(RunOptions) if flag.name in _MODELS]
    with_flags(run, flags)
    return run


async def _steps(
    options: RunOptions, items: list[Item], open_model: OpenModel, show: Show
) -> list[JudgedStep]:
    async with AsyncExitStack() as stack:

        async def opened(role: Role) -> Model:
            model = await open_model(role, options)
            stack.push_async_callback(model.engine.aclose)
            return model

        target, draft = await opened("target"), await opened("draft")
        return await judged_steps(
            target,
            draft,
            items,
            most_tokens=options.max_tokens,
            on_done=lambda count: show(count, items[count - 1].task),
        )


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
        threshold: Any = one.gate
        table.add_row(
            f"{threshold.threshold:.4g}",
            f"{one.accepted:.1%}",
            f"{one.accepted_tokens:.1%}",
            f"{one.tested.errors} of {one.tested.cases}",
            f"{one.tested.upper:.2%}",
            "chosen" if one is found.chosen else "",
        )
    return table
