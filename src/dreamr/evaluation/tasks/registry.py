"""Registry of tasks: published benchmarks, files, distributions and plugins."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias, cast

from dreamr._plugins import Installed
from dreamr.evaluation.tasks.item import BadData, Items, Split, TaskError, UnknownTask
from dreamr.evaluation.tasks.public import BENCHMARKS, ENDINGS, table

LIMIT = 1_000  # default number of problems of tasks that are not benchmarks or files

# limit, seed, split; a larger limit gives the same problems and others. That of a task with levels
# also takes the keyword `levels`.
Loader: TypeAlias = Callable[..., Items]

_TESTBED = "dreamr-testbed"
_HINT = "pip install 'dreamr[testbed]'"
_DEFAULT = Installed("dreamr.tasks", "task", TaskError)  # entry points of loaders
_EXTRA = Installed("dreamr.extra_tasks", "task", TaskError)  # the same, used only if named
_ADDED: dict[str, Loader] = {}


def add_task(name: str, loader: Loader) -> None:
    """Register a task under a name, so that `load` uses its loader.

    A distribution declares its tasks as entry points instead: in the group `dreamr.tasks`, or in
    `dreamr.extra_tasks` if commands should run them only by name.

    Args:
        name: A new name, without a colon.
        loader: Called with the number of items, a seed that selects them, and the split: 'train' or
            'test'. If its items name levels, it is also called with the keyword `levels`, those
            that are wanted.

    Raises:
        TaskError: If the name is taken or has a colon.
    """
    if ":" in name:
        raise TaskError(f"the name of a task must not have a colon: rename {name!r}")
    taken = name in BENCHMARKS or name in installed_tasks()
    if taken or _ADDED.setdefault(name, loader) is not loader:
        raise TaskError(f"a task {name!r} already exists: choose another name")


def installed_tasks() -> tuple[str, ...]:
    """Return the names of tasks of installed distributions, without importing any."""
    return tuple(dict.fromkeys((*_DEFAULT.names, *_EXTRA.names)))


def known_tasks() -> tuple[str, ...]:
    """Return all names known to `load`: installed, published, and added by `add_task`."""
    return tuple(dict.fromkeys((*installed_tasks(), *BENCHMARKS, *_ADDED)))


def default_tasks() -> tuple[str, ...]:
    """Return the tasks that commands use by default: those of installed distributions.

    Tasks of the group `dreamr.extra_tasks` are left out.

    Raises:
        UnknownTask: If no installed distribution has tasks; the message says what to install.
    """
    names = _DEFAULT.names
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
    """Return the items of a task; each is created on access.

    Args:
        name: One of `known_tasks()`, or the path of a parquet or JSON Lines file with the columns
            attachments (or image), question and answer. A level of difficulty may follow the name
            of a task that has levels, as in 'pages:1'.
        limit: Number of problems. By default all of a benchmark or file, and `LIMIT` of any other
            task. A problem of MMBench has several items.
        seed: Seed with which `limit` problems of a benchmark are drawn. The loaders of other tasks
            define their own meaning.
        source: Folder or parquet file of a benchmark; the Hugging Face hub by default.
        split: 'train' or 'test'. Published benchmarks have one split only.

    Raises:
        UnknownTask: If the name is unknown; the message lists the known ones.
        TaskError: If the distribution of the task cannot be imported.
        NoData: If the files of a benchmark are missing.
        BadData: If a file is not valid for the task, or if level, limit, seed or source are not.
        Unsupported: If a library is not installed.
    """
    is_file = name.endswith(ENDINGS)
    task = name if is_file else without_level(name)
    if task != name and (task in BENCHMARKS or task.endswith(ENDINGS)):
        raise BadData(f"{task} has no levels: use {task}")
    loader = None if is_file or name in BENCHMARKS else _loader(task)
    if (limit is not None and limit < 1) or seed < 0:
        raise BadData(f"{name}: the limit must be at least 1 and the seed at least 0")
    if loader is None:
        benchmark = table(name) if is_file else BENCHMARKS[name]
        return benchmark.load(limit=limit, seed=seed, source=name if is_file else source)
    if source is not None:
        raise BadData(f"{name} generates its problems: remove the source {source}")
    if task != name:
        return _at_level(loader, name, limit or LIMIT, seed, split)
    return loader(limit or LIMIT, seed, split)


def without_level(name: str) -> str:
    """Return the name of a task without the level of its problems: 'pages' for 'pages:1'."""
    return name.partition(":")[0]


def _at_level(loader: Loader, name: str, limit: int, seed: int, split: Split) -> Items:
    """Load problems of the level in a name; the name with the level is the task of the items."""
    task, _, level = name.partition(":")
    levels = [str(each) for each in loader(1, seed, split).levels]
    if level not in levels:
        has = f"has the levels {', '.join(levels)}" if levels else "has no levels"
        raise BadData(f"{task} {has}: use {' or '.join([task, *(f'{task}:{n}' for n in levels)])}")
    return loader(limit, seed, split, levels=(int(level),)).of_task(name)


def _loader(name: str) -> Loader:
    if name in _ADDED:
        return _ADDED[name]
    loader = _DEFAULT.load(name) or _EXTRA.load(name)
    if loader is None:
        raise UnknownTask(_unknown(name))
    return cast("Loader", loader)


def _unknown(name: str) -> str:
    message = f"no task {name!r}; known: {', '.join(known_tasks())}, or a .parquet or .jsonl file"
    is_there = _TESTBED in _DEFAULT.distributions
    return message if is_there else f"{message}; for docmath, story, vqa and gap: {_HINT}"
