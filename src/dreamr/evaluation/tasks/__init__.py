"""Tasks: problems with their scorers, found by name."""

from dreamr.evaluation.tasks.answer import MARKER, extract_answer
from dreamr.evaluation.tasks.item import (
    BadData,
    Check,
    Item,
    Items,
    NoData,
    Split,
    StepPlaces,
    TaskError,
    UnknownTask,
    by_unit,
)
from dreamr.evaluation.tasks.places import NamedPlace, NamedPlaces, Places, places_in
from dreamr.evaluation.tasks.public import BENCHMARKS
from dreamr.evaluation.tasks.registry import (
    LIMIT,
    Loader,
    add_task,
    default_tasks,
    installed_tasks,
    known_tasks,
    load,
    without_level,
)

__all__ = [
    "BENCHMARKS",
    "LIMIT",
    "MARKER",
    "BadData",
    "Check",
    "Item",
    "Items",
    "Loader",
    "NamedPlace",
    "NamedPlaces",
    "NoData",
    "Places",
    "Split",
    "StepPlaces",
    "TaskError",
    "UnknownTask",
    "add_task",
    "by_unit",
    "default_tasks",
    "extract_answer",
    "installed_tasks",
    "known_tasks",
    "load",
    "places_in",
    "without_level",
]
