"""Registry of tasks: published benchmarks, files, distributions and plugins."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias, cast

from dreamr._plugins import Installed
from dreamr.evaluation.tasks.item import BadData, Items, Split, TaskError, UnknownTask
from dreamr.evaluation.tasks.public import BENCHMARKS, ENDINGS, table

LIMIT = 1_000  # default number of problems of tasks that are not benchmarks or files

Loader: TypeAlias = Callable[[int, int, Split], Items]  # limit, seed, split

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
        name: A new name.
        loader: Called with the number of items, a seed that selects them, and the split: 'train' or
            'test'.

    Raises:
        TaskError: If the name is taken.
    """
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
            attachments (or image), question and answer.
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
        BadData: If a file is not valid for the task, or if limit, seed or source are not.
        Unsupported: If a library is not installed.
    """
    is_file = name.endswith(ENDINGS)
    loader = None if is_file or name in BENCHMARKS else _loader(name)
    if (limit is not None and limit < 1) or seed < 0:
        raise BadData(f"{name}: the limit must be at least 1 and the seed at least 0")
    if loader is None:
        benchmark = table(name) if is_file else BENCHMARKS[name]
        return benchmark.load(limit=limit, seed=seed, source=name if is_file else source)
    if source is not None:
        raise BadData(f"{name} generates its problems: remove the source {source}")
    return loader(limit or LIMIT, seed, split)


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
