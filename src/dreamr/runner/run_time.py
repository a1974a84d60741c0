"""The time of a run, from the question on: reading and waiting take part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import anyio

from dreamr.errors import DeadlinePassed
from dreamr.runner.deadline import Deadline


@dataclass(slots=True)
class RunTime:
    """What is left of the time of a run.

    Attributes:
        deadline: The deadline as it was at first, None if the run has as much time as it needs.
        scope: Cancels what comes before the run when the time has passed.
    """

    deadline: Deadline | None
    scope: anyio.CancelScope

    def begin(self) -> Deadline | None:
        """Begin the run, which follows its deadline from now on itself; return what is left."""
        if self.deadline is None:
            return None
        left = self.scope.deadline - anyio.current_time()
        self.scope.deadline = math.inf
        return replace(self.deadline, seconds=max(0.0, left))


@contextmanager
def run_time(deadline: Deadline | None) -> Iterator[RunTime]:
    """Limit what comes before a run, inside the block, to the time of the run.

    Args:
        deadline: Deadline of the run, None for no limit.

    Raises:
        DeadlinePassed: If the time passes before the run begins.
    """
    seconds = None if deadline is None else deadline.seconds
    with anyio.move_on_after(seconds) as scope:
        yield RunTime(deadline, scope)
    if scope.cancelled_caught:
        raise DeadlinePassed(f"the deadline of {seconds:.4g} s passed before the run began")
