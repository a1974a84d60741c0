"""`dreamr calibrate`: a gate for a pair and a kind of problems, with a promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dreamr._option_specs import BadOption, listed
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import model_identities
from dreamr.cli.flags import option_parameters, with_flags
from dreamr.cli.progress import Show, shown
from dreamr.cli.screen import stderr_console
from dreamr.engines import Model, OpenModel
from dreamr.errors import RunFailed
from dreamr.evaluation.calibration import (
    FEW_THRESHOLDS,
    KINDS,
    Calibrated,
    calibrate,
    calibrate_answers,
    family,
    judged_steps,
)
from dreamr.evaluation.tasks import Item, default_tasks, load
from dreamr.gate import Bounds, Profile, Reference, strictness, write_profile
from dreamr.trace import Role

_FLAGS = (
    "window", "fallback", "final_answer", "deterministic", "max_steps",
    "target", "draft", "target_model", "draft_model", "judge_prompt", "answer_marker", "device",
    "draft_device", "threads", "max_tokens", "target_confidence",
)  # fmt: skip
_RUN = ("window", "fallback", "deterministic", "max_steps", "max_tokens")
# What an answer is depends on these whatever the gate is, so a promise about answers does too.
_KEPT = ("method", "final_answer", "temperature")


def calibrate_command(open_model: OpenModel) -> Callable[..., int]:
    """The command."""

    def run(
        out: Annotated[Path, typer.Option("--out", help="The profile, a JSON file.")],
        task: Annotated[
            str | None,
            typer.Option(
                "--task",
                help="Tasks, with commas between them.",
                show_default="all that are installed",
            ),
        ] = None,
        problems: Annotated[
            int, typer.Option("--problems", "--limit", min=1, help="Problems of each task.")
        ] = 1000,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of the problems.")] = 0,
        gate: Annotated[str, typer.Option("--gate", help=f"One of {', '.join(KINDS)}.")] = "ratio",
        risk: Annotated[
            float,
            typer.Option(
                "--risk", help="Bound on false accepts a judged step, or wrong answers a problem."
            ),
        ] = 0.003,
        confidence: Annotated[
            float, typer.Option("--confidence", help="With which the bound is to hold.")
        ] = 0.95,
        by: Annotated[
            Bounds,
            typer.Option(
                "--by",
                help="What the risk is of: steps, wrong ones that are accepted; answers, wrong "
                "ones that the target alone would not have given.",
            ),
        ] = "steps",
        reference: Annotated[
            Reference,
            typer.Option(
                "--reference",
                help="For answers: what says that one is wrong, the task's labels, or without "
                "labels the target's own answer.",
            ),
        ] = "labels",
        plugin: Annotated[
            str | None, typer.Option("--plugin", help="Python modules to import first.")
        ] = None,
        **options: Any,
    ) -> int:
        """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

        By steps, the draft writes, the target judges all of it, and the task's checker says what
        was right. By answers, the target alone and then fpsr with a few gates, from the strictest
        on, solve every problem. By learn-then-test, what is promised holds for new problems of the
        same kind, with the stated confidence. The profile is what `--profile` of the other commands
        takes.
        """
        for name, value in (("risk", risk), ("confidence", confidence)):
            if not 0 < value < 1:
                raise BadOption(f"{name} must lie between 0 and 1, not at {value}")
        if gate not in KINDS:
            raise BadOption(f"gate {gate!r} is unknown: choose one of {', '.join(KINDS)}")
        if by == "steps" and reference == "target":
            raise BadOption("reference target is for --by answers: steps need the task's labels")
        if by == "answers" and gate == "learned":
            raise BadOption("a learned gate learns from judged steps: calibrate it --by steps")
        import_plugins(plugin)
        chosen = RunOptions(**options)
        names = default_tasks() if task is None else listed(task)
        items = [item for name in names for item in load(name, limit=problems, seed=seed)]
        console = stderr_console()
        work = _Calibration(chosen, items, gate, risk, confidence, reference)
        unit = "problems" if by == "steps" else "runs"
        with shown(console, work.runs(by), unit) as show:
            found = anyio.run(work.find, by, open_model, show)
        console.print(_table(found))
        if found.chosen is None:
            least = found.candidates[0].tested
            cases = "problems" if by == "answers" else "steps"
            raise RunFailed(
                f"no {gate} gate keeps {risk:g} with confidence {confidence:g}: the strictest has "
                f"{least.errors} errors in {least.cases} {cases}, so up to {least.upper:.2g} is "
                "possible; take more --problems, another --gate, or a larger --risk"
            )
        best = found.chosen
        data: dict[str, Any] = {"tasks": names, "seed": seed, "problems": len(items)}
        if by == "answers":
            data |= _values(chosen, _RUN)
        else:
            data["steps"] = best.tested.cases
        measured = {
            "errors": best.tested.errors,
            "upper": best.tested.upper,
            "accepted": best.accepted,
            "accepted_tokens": best.accepted_tokens,
        }
        kept = _values(chosen, _KEPT) if by == "answers" else {}
        models = model_identities(chosen)
        write_profile(
            out, Profile(best.gate, risk, confidence, models, data, measured, by, reference, kept)
        )
        print(out)
        return 0

    flags = [flag for flag in option_parameters(RunOptions) if flag.name in _FLAGS]
    with_flags(run, flags)
    return run


@dataclass(frozen=True)
class _Calibration:
    """What is calibrated, and on what."""

    options: RunOptions
    items: Sequence[Item]
    kind: str
    risk: float
    confidence: float
    reference: Reference

    def runs(self, by: Bounds) -> int:
        """How often a problem is worked at, at most."""
        return len(self.items) * (1 if by == "steps" else 1 + len(FEW_THRESHOLDS))

    async def find(self, by: Bounds, open_model: OpenModel, show: Show) -> Calibrated:
        """Open the models, let them work, and test the candidates."""
        async with AsyncExitStack() as stack:

            async def opened(role: Role) -> Model:
                model = await open_model(self.options.source(role))
                stack.push_async_callback(model.engine.aclose)
                return model

            target, draft = await opened("target"), await opened("draft")
            calibrated = self._answers if by == "answers" else self._steps
            return await calibrated(target, draft, show)

    async def _steps(self, target: Model, draft: Model, show: Show) -> Calibrated:
        steps = await judged_steps(
            target,
            draft,
            self.items,
            most_tokens=self.options.max_tokens,
            on_done=lambda count: show(count, self.items[count - 1].task),
        )
        # A gate that learns is tested on steps that it has not seen: every other one of them.
        learnt, tested = (steps[::2], steps[1::2]) if self.kind == "learned" else ([], steps)
        gates = family(self.kind, learnt, target_confidence=self.options.target_confidence)
        return calibrate(gates, tested, self.risk, self.confidence)

    async def _answers(self, target: Model, draft: Model, show: Show) -> Calibrated:
        gates = family(self.kind, [], target_confidence=self.options.target_confidence)

        def on_done(count: int) -> None:
            place = (count - 1) // len(self.items)
            who = "the target alone" if not place else f"threshold {FEW_THRESHOLDS[place - 1]}"
            show(count, who)

        return await calibrate_answers(
            target,
            draft,
            self.items,
            [gates(threshold) for threshold in FEW_THRESHOLDS],
            self.options,
            self.risk,
            self.confidence,
            reference=self.reference,
            on_done=on_done,
        )


def _values(options: RunOptions, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


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
