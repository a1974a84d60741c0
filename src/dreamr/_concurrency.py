"""Bounded concurrency."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

Given = TypeVar("Given")
Found = TypeVar("Found")


async def gather_bounded(
    given: Iterable[Given], work: Callable[[Given], Awaitable[Found]], most: int
) -> list[Found]:
    """Await `work` on each item, at most `most` at a time; results in the order of the items.

    Raises:
        Exception: the first failure, as it is and in no group; all other work is cancelled.
    """
    waiting = enumerate(given)
    found: dict[int, Found] = {}
    failures: list[Exception] = []

    async def worker() -> None:
        try:
            for place, one in waiting:
                found[place] = await work(one)
        except Exception as error:  # a task group would wrap it in a group
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for _ in range(most):
            tasks.start_soon(worker)
    if failures:
        raise failures[0]
    return [found[place] for place in range(len(found))]
