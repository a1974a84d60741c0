"""Tasks by name: published benchmarks, parquet files, and what distributions and plugins bring."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias, cast

from dreamr._plugins import Installed
from dreamr.evaluation.tasks.item import BadData, Items, Split, TaskError, UnknownTask
from dreamr.evaluation.tasks.public import BENCHMARKS, ENDING, table

LIMIT = 1_000  # problems of a task of others, where the caller sets no limit

Loader: TypeAlias = Callable[[int, int, Split], Items]  # limit, seed, split

_TESTBED = "dreamr-testbed"
_HINT = "pip install 'dreamr[testbed]'"
_INSTALLED = Installed("dreamr.tasks", "task", TaskError)  # each leads to a loader
_ADDED: dict[str, Loader] = {}


def add_task(name: str, loader: Loader) -> None:
    """Make one more task known by its name; from then on `load` gives what the loader gives.

    A distribution declares its tasks as entry points of the group `dreamr.tasks` instead.

    Args:
        name: none that is known.
        loader: called with how many items, a seed that says which, and whether they are there to
            train on ('train') or to measure with ('test').

    Raises:
        TaskError: the name is taken.
    """
    taken = name in BENCHMARKS or name in installed_tasks()
    if taken or _ADDED.setdefault(name, loader) is not loader:
        raise TaskError(f"there is a task {name!r} already: choose another name")


def installed_tasks() -> tuple[str, ...]:
    """Names of the tasks that installed distributions bring; nothing of these is imported."""
    return _INSTALLED.names


def known_tasks() -> tuple[str, ...]:
    """Every name that `load` knows: of installed distributions, published, added by `add_task`."""
    return tuple(dict.fromkeys((*installed_tasks(), *BENCHMARKS, *_ADDED)))


def default_tasks() -> tuple[str, ...]:
    """What commands take where the user names no task: those of installed distributions.

    Raises:
        UnknownTask: no distribution brings any; the message says what to install.
    """
    names = installed_tasks()
    if not names:
        raise UnknownTask(f"no task is installed: name one with --task, or {_HINT}")
    return names


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
        name: one of `known_tasks()`; or the path of a parquet file with the columns image, question
            and answer.
        limit: how many problems; by default all of a benchmark or file, `LIMIT` of any other task.
            A problem of MMBench is several items.
        seed: of a benchmark, of the draw of `limit` problems; the loaders of other tasks say what
            it means to them.
        source: of a benchmark, a folder or a parquet file; the Hugging Face hub by default.
        split: whether to train on or to measure with; published sets have one only.

    Raises:
        UnknownTask: the message lists the known ones.
        TaskError: the distribution that brings the task is broken.
        NoData, BadData: the files of a benchmark; a source for another task; a limit below 1 or a
            negative seed.
        Unsupported: a library is missing.
    """
    is_file = name.endswith(ENDING)
    loader = None if is_file or name in BENCHMARKS else _loader(name)
    if (limit is not None and limit < 1) or seed < 0:
        raise BadData(f"{name}: the limit must be at least 1 and the seed at least 0")
    if loader is None:
        benchmark = table(name) if is_file else BENCHMARKS[name]
        return benchmark.load(limit=limit, seed=seed, source=name if is_file else source)
    if source is not None:
        raise BadData(f"{name} makes its own problems: leave the source {source} out")
    return loader(limit or LIMIT, seed, split)


def _loader(name: str) -> Loader:
    if name in _ADDED:
        return _ADDED[name]
    loader = _INSTALLED.load(name)
    if loader is None:
        raise UnknownTask(_unknown(name))
    return cast("Loader", loader)


def _unknown(name: str) -> str:
    message = f"no task {name!r}; known: {', '.join(known_tasks())}, or a parquet file"
    is_there = _TESTBED in _INSTALLED.distributions
    return message if is_there else f"{message}; for docmath, story and vqa: {_HINT}"
