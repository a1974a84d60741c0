"""The time of a run, from the question on: reading and waiting take part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from dreamr.errors import DeadlinePassed
from dreamr.runner.deadline import Deadline, OnDeadline


@dataclass(slots=True)
class RunTime:
    """What is left of the time of a run.

    Attributes:
        seconds: Seconds that the run has; None if it has as many as it needs.
        on_deadline: See `Deadline`.
        scope: Cancels what comes before the run when the time has passed.
    """

    seconds: float | None
    on_deadline: OnDeadline
    scope: anyio.CancelScope

    def begin(self) -> Deadline | None:
        """Begin the run, which follows its deadline from now on itself; return that."""
        if self.seconds is None:
            return None
        left = self.scope.deadline - anyio.current_time()
        self.scope.deadline = math.inf
        return Deadline(max(0.0, left), self.on_deadline)


@contextmanager
def run_time(seconds: float | None, on_deadline: OnDeadline) -> Iterator[RunTime]:
    """Limit what comes before a run, inside the block, to the time of the run.

    Args:
        seconds: Seconds that the run has; None for no limit.
        on_deadline: See `Deadline`.

    Raises:
        DeadlinePassed: If the time passes before the run begins.
    """
    with anyio.move_on_after(seconds) as scope:
        yield RunTime(seconds, on_deadline, scope)
    if scope.cancelled_caught:
        raise DeadlinePassed(f"the deadline of {seconds:.4g} s passed before the run began")
