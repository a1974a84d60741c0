"""Which problems: the options that every command over tasks has, declared once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dreamr._option_specs import BadOption, OptionSpec, listed
from dreamr.evaluation.tasks.registry import default_tasks

_GROUP = "Problems"

TaskNames: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Tasks, with commas between them; also those that a plugin adds.",
        _GROUP,
        shown="all that are installed",
    ),
]
ProblemCount: TypeAlias = Annotated[
    int, OptionSpec("Problems of each task.", _GROUP, 1, flags=("--problems", "--limit"))
]
ProblemSeed: TypeAlias = Annotated[int, OptionSpec("Of the problems.", _GROUP, 0)]
Plugin: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Python modules to import first, with commas between them; they may add tasks.", _GROUP
    ),
]


def task_names(text: str | None) -> tuple[str, ...]:
    """The names in a list with commas; without a list those of installed distributions.

    Raises:
        BadOption: none, or one twice.
        UnknownTask: no list is given, and no distribution brings a task.
    """
    if text is None:
        return default_tasks()
    names = listed(text)
    if not names or len(set(names)) < len(names):
        raise BadOption(f"--task {text!r}: name at least one, and each once")
    return names
