"""Whether the models of a bench were trained on its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dreamr.engines import is_served
from dreamr.engines.local.options import Hints, read_hints
from dreamr.errors import Unsupported
from dreamr.evaluation.bench.plan import Plan
from dreamr.evaluation.bench.presets import presets
from dreamr.evaluation.tasks import load, without_level
from dreamr.steps import Role


def check_trained(plan: Plan) -> None:
    """Check the drawn tasks of a plan against those that the folders of its models name.

    Models that name no tasks, such as vision language models for general use, take any.

    Args:
        plan: The plan; with the option `untrained` nothing is checked.

    Raises:
        Unsupported: If a model was trained on certain tasks and a task is not among them. The
            message says on which it was trained, and how to run anyway.
        ModelNotFound: If a model or its hints cannot be read.
        TaskError: If a task cannot be loaded.
    """
    if plan.options.untrained:
        return
    drawn = {
        task: load(task, limit=1, seed=plan.seed, source=plan.sources.get(task)).levels
        for task in plan.tasks
    }
    roles = {
        role
        for preset in presets(plan.methods).values()
        for role in preset.options(plan.options).roles
    }
    for role in sorted(roles, reverse=True):  # the target first
        location = plan.options.source(role).location
        hints = Hints() if is_served(location) else read_hints(Path(location).expanduser())
        if hints.trained_tasks is not None:
            _check(role, hints.trained_tasks, drawn)


def _check(
    role: Role, trained: Mapping[str, Sequence[int]], drawn: Mapping[str, Sequence[int]]
) -> None:
    for task, levels in drawn.items():
        name = without_level(task)
        learned = trained.get(name, ())
        missing = sorted(set(levels) - set(learned))
        if not missing:
            continue
        known = ", ".join(sorted(trained))
        what, other = name, "other tasks or models"
        if learned:
            what = f"level {', '.join(map(str, missing))} of {name}"
            other = f"--task {name}:{learned[0]}, {other}"
        raise Unsupported(
            f"the {role} was not trained on {what} and would guess (trained on: {known}): "
            f"choose {other}, or set --untrained to run it anyway"
        )
