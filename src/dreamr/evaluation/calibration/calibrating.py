"""A calibration from its options to a profile: models opened, problems solved, gates tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import model_identities
from dreamr.engines import Model, OpenModel, open_model
from dreamr.errors import RunFailed
from dreamr.evaluation.calibration.by_answers import calibrate_answers
from dreamr.evaluation.calibration.by_steps import judged_steps
from dreamr.evaluation.calibration.families import (
    FEW_THRESHOLDS,
    Calibrated,
    Candidate,
    calibrate_steps,
    family,
)
from dreamr.evaluation.calibration.options import CalibrateOptions
from dreamr.evaluation.tasks import Item, load
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import Profile
from dreamr.steps import Role

# What a promise about answers was found with.
_FOUND_WITH = ("window", "fallback", "deterministic", "max_steps", "max_tokens")
# What an answer is depends on these whatever the gate is, so a promise about answers does too.
_HOLDS_AT = ("method", "final_answer", "temperature")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a calibration is. done, total: judged problems, or by answers runs of a problem.

    A calibration by answers may end before its total: it stops at the first gate that fails.
    last: a few words about the last one.
    """

    done: int
    total: int
    last: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found. tested: all candidates. profile: of the best; None where none may be used."""

    options: CalibrateOptions
    tested: Calibrated
    profile: Profile | None

    def require_profile(self) -> Profile:
        """The profile.

        Raises:
            RunFailed: no gate keeps the bound; the message says how far the strictest is from it.
        """
        if self.profile is not None:
            return self.profile
        options, strictest = self.options, self.tested.candidates[0].tested
        cases = "problems" if options.by == "answers" else "steps"
        raise RunFailed(
            f"no {options.gate} gate keeps {options.risk:g} with confidence "
            f"{options.confidence:g}: the strictest has {strictest.errors} errors in "
            f"{strictest.cases} {cases}, so up to {strictest.upper:.2g} is possible; take more "
            "--problems, another --gate, or a larger --risk"
        )


async def calibrate(
    options: CalibrateOptions,
    run: RunOptions | None = None,
    *,
    open_model: OpenModel = open_model,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Calibration:
    """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

    By steps, the draft writes, the target judges all of it, and the task's checker says what was
    right. By answers, the target alone and then fpsr with a few gates, from the strictest on, solve
    every problem.

    Args:
        options: what is to be promised, on which problems.
        run: which models, and how they run by answers. Its gate is not used.
        open_model: opens both models; they are closed at the end.
        on_progress: called after each problem.

    Returns:
        The candidates, and the profile that `--profile` and `RunOptions.profile` take once
        `write_profile` has written it.

    Raises:
        BadOption: a plugin cannot be imported, or no task is named.
        TaskError: an unknown task, or its data.
        Unsupported: a task that does not know what is asked of it, or a target that cannot judge.
        EngineError, RunFailed: an engine failed or was lost.
    """
    run = run or RunOptions()
    import_plugins(options.plugin)
    names = task_names(options.task)
    items = [
        item for name in names for item in load(name, limit=options.problems, seed=options.seed)
    ]
    async with AsyncExitStack() as stack:

        async def opened(role: Role) -> Model:
            model = await open_model(run.source(role))
            stack.push_async_callback(model.engine.aclose)
            return model

        target, draft = await opened("target"), await opened("draft")
        find = _by_answers if options.by == "answers" else _by_steps
        tested = await find(options, run, items, target, draft, on_progress)
    if tested.chosen is None:
        return Calibration(options, tested, None)
    data = {"tasks": list(names), "seed": options.seed, "problems": len(items)}
    return Calibration(options, tested, _profile(options, run, data, tested.chosen))


def calibration_total(options: CalibrateOptions) -> int:
    """The most that `Progress.done` can become; no problem is drawn or read for that.

    Raises:
        BadOption, TaskError: as `calibrate`.
    """
    import_plugins(options.plugin)
    problems = sum(
        len(load(name, limit=options.problems, seed=options.seed))
        for name in task_names(options.task)
    )
    return problems * _runs_each(options)


def _runs_each(options: CalibrateOptions) -> int:
    """How often a problem is worked at, at most."""
    return 1 if options.by == "steps" else 1 + len(FEW_THRESHOLDS)


async def _by_steps(
    options: CalibrateOptions,
    run: RunOptions,
    items: Sequence[Item],
    target: Model,
    draft: Model,
    on_progress: Callable[[Progress], None],
) -> Calibrated:
    steps = await judged_steps(
        target,
        draft,
        items,
        most_tokens=run.max_tokens,
        on_done=lambda count: on_progress(Progress(count, len(items), items[count - 1].task)),
    )
    # A gate that learns is tested on steps that it has not seen: every other one of them.
    learnt, tested = (steps[::2], steps[1::2]) if options.gate == "learned" else ([], steps)
    gates = family(options.gate, learnt, target_confidence=run.target_confidence)
    return calibrate_steps(gates, tested, options.risk, options.confidence)


async def _by_answers(
    options: CalibrateOptions,
    run: RunOptions,
    items: Sequence[Item],
    target: Model,
    draft: Model,
    on_progress: Callable[[Progress], None],
) -> Calibrated:
    gates = family(options.gate, [], target_confidence=run.target_confidence)
    total = len(items) * _runs_each(options)

    def on_done(count: int) -> None:
        place = (count - 1) // len(items)
        who = "the target alone" if not place else f"threshold {FEW_THRESHOLDS[place - 1]}"
        on_progress(Progress(count, total, who))

    return await calibrate_answers(
        target,
        draft,
        items,
        [gates(threshold) for threshold in FEW_THRESHOLDS],
        run,
        options.risk,
        options.confidence,
        reference=options.reference,
        on_done=on_done,
    )


def _profile(
    options: CalibrateOptions, run: RunOptions, data: dict[str, Any], best: Candidate
) -> Profile:
    of_answers = options.by == "answers"
    data |= _values(run, _FOUND_WITH) if of_answers else {"steps": best.tested.cases}
    return Profile(
        gate=best.gate,
        risk=options.risk,
        confidence=options.confidence,
        models=model_identities(run),
        data=data,
        measured={
            "errors": best.tested.errors,
            "upper": best.tested.upper,
            "accepted": best.accepted,
            "accepted_tokens": best.accepted_tokens,
        },
        bounds=options.by,
        reference=options.reference,
        options=_values(run, _HOLDS_AT) if of_answers else {},
    )


def _values(options: RunOptions, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}
