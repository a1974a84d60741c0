"""Options that choose problems, shared by all commands that run on tasks."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dreamr._option_specs import BadOption, OptionSpec, listed
from dreamr.evaluation.tasks.registry import default_tasks

_GROUP = "Problems"

TaskNames: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Comma-separated tasks, also of plugins, or .parquet or .jsonl files.",
        _GROUP,
        shown="installed default tasks",
    ),
]
ProblemCount: TypeAlias = Annotated[
    int, OptionSpec("Number of problems of each task.", _GROUP, 1, flags=("--problems", "--limit"))
]
ProblemSeed: TypeAlias = Annotated[int, OptionSpec("Random seed of the problems.", _GROUP, 0)]
Plugin: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Comma-separated Python modules or files to import first, for example to add tasks.",
        _GROUP,
        reads="*",
    ),
]


def task_names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list of tasks.

    Args:
        text: The list. None: the tasks of installed distributions.

    Raises:
        BadOption: If the list is empty or names a task twice.
        UnknownTask: If there is no list and no distribution has a task.
    """
    if text is None:
        return default_tasks()
    names = listed(text)
    if not names or len(set(names)) < len(names):
        raise BadOption(f"--task {text!r} must name at least one task, and each only once")
    return names
