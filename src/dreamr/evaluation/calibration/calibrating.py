"""Calibration from options to a profile: open the models, solve the problems, test the gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._plugins import import_plugins
from dreamr._profiles import model_identities
from dreamr.engines import Engine, Model, OpenModel, open_model
from dreamr.errors import RunFailed
from dreamr.evaluation.calibration.by_answers import calibrate_answers
from dreamr.evaluation.calibration.by_steps import judged_steps
from dreamr.evaluation.calibration.families import (
    FEW_THRESHOLDS,
    Calibrated,
    Candidate,
    asking_gate,
    calibrate_steps,
    family,
)
from dreamr.evaluation.calibration.options import CalibrateOptions
from dreamr.evaluation.tasks import Item, load
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import Profile
from dreamr.speech import PairSpeech
from dreamr.steps import Role

# Options that a profile by answers records as its data.
_RECORDED = ("window", "fallback", "deterministic", "max_steps", "max_tokens")
# Options that a bound on answers is tied to, because answers depend on them under any gate.
_REQUIRED = ("method", "final_answer", "temperature")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a calibration.

    Attributes:
        done: Judged problems, or runs in a calibration by answers.
        total: Maximum of `done`. A calibration by answers stops at the first gate that fails, so it
            may end earlier.
        last: Short description of the last one.
    """

    done: int
    total: int
    last: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Result of a calibration.

    Attributes:
        options: The options it was made with.
        tested: All tested candidates.
        profile: Profile of the best candidate, or None if no candidate keeps the bound.
    """

    options: CalibrateOptions
    tested: Calibrated
    profile: Profile | None

    def require_profile(self) -> Profile:
        """Return the profile.

        Raises:
            RunFailed: If no gate keeps the bound; the message says how far the strictest is from
                it.
        """
        if self.profile is not None:
            return self.profile
        options, strictest = self.options, self.tested.candidates[0].tested
        cases = "problems" if options.by == "answers" else "steps"
        raise RunFailed(
            f"no {options.gate} gate keeps the risk below {options.risk:g} with confidence "
            f"{options.confidence:g}: the strictest makes {strictest.errors} errors in "
            f"{strictest.cases} {cases}, so its risk may be up to {strictest.upper:.2g}; use more "
            "--problems, another --gate or a larger --risk"
        )


async def calibrate(
    options: CalibrateOptions,
    run: RunOptions | None = None,
    *,
    open_model: OpenModel = open_model,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Calibration:
    """Find the most permissive gate whose risk stays below a bound, with a stated confidence.

    By steps, the draft writes the steps, the target judges them, and the task's checker decides
    which are right. By answers, the target alone and then fpsr with several thresholds, starting
    with the strictest, solve each problem.

    The bound holds for new problems from the same distribution (learn then test, arXiv 2110.01052).

    Args:
        options: The bound, the gate and the problems.
        run: The models, and how they run in a calibration by answers. Its gate is not used.
        open_model: Opens both models; they are closed at the end.
        on_progress: Called after each problem.

    Returns:
        The tested candidates, and the profile for `RunOptions.profile` and `--profile` once
        `write_profile` has written it.

    Raises:
        BadOption: If a plugin cannot be imported, no task is named, or the run has a temperature.
        TaskError: If a task is unknown or its data cannot be read.
        Unsupported: If a task cannot check steps or the target cannot judge.
        EngineError: If an engine fails.
        RunFailed: If an engine is lost during a run.
    """
    run = run or RunOptions()
    if run.temperature:
        raise BadOption(f"calibration is greedy: temperature must be 0, not {run.temperature}")
    run = replace(run, temperature=0.0)  # as in the runs of the profile
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
        speech = PairSpeech()
        stack.push_async_callback(speech.aclose)
        await speech.start(run.transcriber, run.transcriber_model)
        items = [await _heard(item, target, draft, speech, run.hotwords) for item in items]
        find = _by_answers if options.by == "answers" else _by_steps
        tested = await find(options, run, items, target, draft, on_progress)
    if tested.chosen is None:
        return Calibration(options, tested, None)
    data = {"tasks": list(names), "seed": options.seed, "problems": len(items)}
    return Calibration(options, tested, _profile(options, run, data, tested.chosen))


async def _heard(
    item: Item, target: Model, draft: Model, speech: PairSpeech, hotwords: str
) -> Item:
    """Return a problem with transcripts in place of its sounds, if a model does not hear."""
    engines: dict[Role, Engine] = {"target": target.engine, "draft": draft.engine}
    conversation, _ = await speech.written(item.conversation, engines, hotwords=hotwords)
    return replace(item, conversation=conversation)


def calibration_total(options: CalibrateOptions) -> int:
    """Return the maximum of `Progress.done`, without reading any problem.

    Raises:
        BadOption: If a plugin cannot be imported or no task is named.
        TaskError: As for `calibrate`.
    """
    import_plugins(options.plugin)
    problems = sum(
        len(load(name, limit=options.problems, seed=options.seed))
        for name in task_names(options.task)
    )
    return problems * _max_runs(options)


def _max_runs(options: CalibrateOptions) -> int:
    """Return the maximum number of runs per problem."""
    return 1 if options.by == "steps" else 1 + len(FEW_THRESHOLDS)


async def _by_steps(
    options: CalibrateOptions,
    run: RunOptions,
    items: Sequence[Item],
    target: Model,
    draft: Model,
    on_progress: Callable[[Progress], None],
) -> Calibrated:
    settings = _settings(run, target)
    steps = await judged_steps(
        target,
        draft,
        items,
        most_tokens=run.max_tokens,
        gate=asking_gate(options.gate, **settings),
        on_done=lambda count: on_progress(Progress(count, len(items), items[count - 1].task)),
    )
    # The learned gate is trained on one half of the steps and tested on the other.
    training, tested = (steps[::2], steps[1::2]) if options.gate == "learned" else ([], steps)
    gates = family(options.gate, training, **settings)
    return calibrate_steps(gates, tested, options.risk, options.confidence)


def _settings(run: RunOptions, target: Model) -> dict[str, float]:
    """Return the settings of the gates that are not calibrated."""
    floor = run.min_label_mass
    floor = target.engine.capabilities.min_label_mass if floor is None else floor
    return {"target_confidence": run.target_confidence, "min_mass": floor}


async def _by_answers(
    options: CalibrateOptions,
    run: RunOptions,
    items: Sequence[Item],
    target: Model,
    draft: Model,
    on_progress: Callable[[Progress], None],
) -> Calibrated:
    gates = family(options.gate, [], **_settings(run, target))
    total = len(items) * _max_runs(options)

    def on_done(count: int) -> None:
        place = (count - 1) // len(items)
        last = "the target alone" if not place else f"threshold {FEW_THRESHOLDS[place - 1]}"
        on_progress(Progress(count, total, last))

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
    data |= _values(run, _RECORDED) if of_answers else {"steps": best.tested.cases}
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
        options=_values(run, _REQUIRED) if of_answers else {},
    )


def _values(options: RunOptions, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}
