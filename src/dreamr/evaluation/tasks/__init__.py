"""Tasks: suites of problems that the project draws, published benchmarks, scorers of both."""

import os
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeAlias

from dreamr.evaluation.tasks import docmath, story, vqa
from dreamr.evaluation.tasks.canvas import GRID, PATCH, SIDE, Canvas
from dreamr.evaluation.tasks.item import (
    FIRST,
    LIMIT,
    BadData,
    Item,
    Items,
    NoData,
    ProblemCheck,
    TaskError,
    UnknownTask,
    by_unit,
    item_of,
    reads_as_reference,
)
from dreamr.evaluation.tasks.problem import (
    MARKER,
    Problem,
    ReferenceStep,
    Scene,
    Split,
    extract_answer,
    is_correct,
)
from dreamr.evaluation.tasks.public import BENCHMARKS, ENDING, table

__all__ = [
    "BENCHMARKS",
    "CHECKERS",
    "FIRST",
    "GRID",
    "LEVELS",
    "LIMIT",
    "MARKER",
    "PATCH",
    "SIDE",
    "SUITES",
    "TASKS",
    "BadData",
    "Item",
    "Items",
    "Loader",
    "NoData",
    "Problem",
    "ReferenceStep",
    "Scene",
    "Split",
    "TaskError",
    "UnknownTask",
    "add_task",
    "by_unit",
    "extract_answer",
    "is_correct",
    "item_of",
    "load",
    "make_problem",
    "reads_as_reference",
]

LEVELS = (1, 2, 3)
SUITES: dict[str, Callable[[Random, int], Scene]] = {
    "docmath": docmath.generate,
    "story": story.generate,
    "vqa": vqa.generate,
}
# What each suite knows about steps; a suite that can tell more puts a checker of its own here.
CHECKERS: dict[str, ProblemCheck] = {
    "docmath": reads_as_reference,
    "story": reads_as_reference,
    "vqa": reads_as_reference,
}
TASKS = (*SUITES, *BENCHMARKS)

Loader: TypeAlias = Callable[[int, int, Split], Items]  # limit, seed, split
_ADDED: dict[str, Loader] = {}


def add_task(name: str, loader: Loader) -> None:
    """Make one more task known by its name; from then on `load` gives what the loader gives.

    Args:
        name: none that is known.
        loader: called with how many items, a seed that says which, and whether they are there to
            train on ('train') or to measure with ('test').

    Raises:
        TaskError: the name is taken.
    """
    if name in TASKS or _ADDED.setdefault(name, loader) is not loader:
        raise TaskError(f"there is a task {name!r} already: choose another name")


def load(
    name: str,
    *,
    limit: int | None = None,
    seed: int = 0,
    source: str | os.PathLike[str] | None = None,
    split: Split = "test",
) -> Items:
    """The items of a task, each made when it is asked for.

    Args:
        name: one of `TASKS` or of those that were added; or the path of a parquet file with the
            columns image, question and answer.
        limit: how many problems; by default all of a benchmark, `LIMIT` of a suite. A problem of
            MMBench is several items.
        seed: of a suite, how many problems behind number `FIRST` of the split to begin; of a
            benchmark, of the draw of `limit` problems.
        source: of a benchmark, a folder or a parquet file; the Hugging Face hub by default.
        split: of a suite, whether to train on or to measure with; published sets have one only.

    Raises:
        UnknownTask: the message lists the known ones.
        NoData, BadData: the files of a benchmark; a suite with a source; a limit below 1 or a
            negative seed.
        Unsupported: a library is missing.
    """
    if name not in (*TASKS, *_ADDED) and not name.endswith(ENDING):
        raise UnknownTask(
            f"no task {name!r}; known: {', '.join((*TASKS, *_ADDED))}, or a parquet file"
        )
    if (limit is not None and limit < 1) or seed < 0:
        raise BadData(f"{name}: the limit must be at least 1 and the seed at least 0")
    if name in BENCHMARKS:
        return BENCHMARKS[name].load(limit=limit, seed=seed, source=source)
    if name.endswith(ENDING):
        return table(name).load(limit=limit, seed=seed, source=name)
    if source is not None:
        raise BadData(f"{name} draws its own problems: leave the source {source} out")
    if name in _ADDED:
        return _ADDED[name](limit or LIMIT, seed, split)
    first = FIRST + seed
    return Items(range(first, first + (limit or LIMIT)), partial(_drawn, name, split))


def _drawn(suite: str, split: Split, index: int) -> Item:
    return item_of(make_problem(suite, split, index), CHECKERS[suite])


def make_problem(suite: str, split: Split, index: int, level: int | None = None) -> Problem:
    """Problem `index` of a suite, the same on every machine.

    Args:
        suite: one of `SUITES`.
        split: 'train' or 'test'; the two never share a seed.
        index: any non-negative number.
        level: 1 to 3; by default drawn from the seed, all levels alike.

    Raises:
        KeyError: the suite is unknown; the message lists the known ones.
    """
    if suite not in SUITES:
        raise KeyError(f"no suite {suite!r}; known: {', '.join(SUITES)}")
    rng = Random(f"{suite}/{split}/{index}")
    drawn = rng.choice(LEVELS)
    level = drawn if level is None else level
    scene = SUITES[suite](rng, level)
    canvas = Canvas(rng)
    scene.paint(canvas)
    image, patches = canvas.finish()
    return Problem(suite, split, index, level, scene, image, patches)
