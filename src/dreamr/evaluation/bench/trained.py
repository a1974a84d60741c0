"""Whether models were trained on the tasks that they are asked to solve."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dreamr._options import RunOptions
from dreamr.engines import is_served
from dreamr.engines.local.options import Hints, read_hints
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import load, without_level
from dreamr.steps import Role


def check_trained(
    tasks: Sequence[str],
    options: RunOptions,
    roles: Collection[Role],
    *,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Check drawn tasks against those that the folders of models name.

    Models that name no tasks, such as vision language models for general use, take any.

    Args:
        tasks: Names of the tasks.
        options: Options that name the models; with `untrained` nothing is checked.
        roles: Roles of the models that solve or judge the problems.
        sources: Files of published tasks, by task.

    Raises:
        Unsupported: If a model was trained on certain tasks and a task is not among them. The
            message says on which it was trained, and how to run anyway.
        ModelNotFound: If a model or its hints cannot be read.
        TaskError: If a task cannot be loaded.
    """
    if options.untrained:
        return
    files = sources or {}
    drawn = {task: load(task, limit=1, source=files.get(task)).levels for task in tasks}
    for role in sorted(roles, reverse=True):  # the target first
        location = options.source(role).location
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
