"""Concurrency with an upper limit, and the errors of task groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from dreamr.errors import DreamrError

Given = TypeVar("Given")
Found = TypeVar("Found")


async def gather_bounded(
    given: Iterable[Given], work: Callable[[Given], Awaitable[Found]], most: int
) -> list[Found]:
    """Await `work` on each item, with at most `most` calls at a time.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: The first failure, not wrapped in a group; all other work is canceled.
    """
    waiting = enumerate(given)
    found: dict[int, Found] = {}
    failures: list[Exception] = []

    async def worker() -> None:
        try:
            for place, one in waiting:
                found[place] = await work(one)
        except Exception as error:  # the task group would wrap it in an exception group
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for _ in range(most):
            tasks.start_soon(worker)
    if failures:
        raise failures[0]
    return [found[place] for place in range(len(found))]


async def cancel_tasks(group: TaskGroup) -> None:
    """Cancel the tasks of a group and leave it.

    It leaves without the error of the block, which the group would wrap in an exception group.
    """
    group.cancel_scope.cancel()
    await group.__aexit__(None, None, None)


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to raise for a group: a `DreamrError` if it contains one."""
    ours = group.subgroup(DreamrError)
    error: BaseException = ours or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
