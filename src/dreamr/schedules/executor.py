"""Which method of a driver carries out which command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias, assert_never

from dreamr.schedules.protocol import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Discard,
    ExtendJudge,
    Finished,
    GrantSteps,
    Judge,
    OpenLane,
    Reject,
    Warn,
)
from dreamr.steps import Step

Decision: TypeAlias = Commit | Reject | Discard | Warn


class Executor(Protocol):
    """Carries out commands: over engines, or in virtual time.

    A lane or call that is named may have ended: its signal is still on the way to the schedule.
    """

    def open_lane(self, command: OpenLane) -> None:
        """Start a stream."""
        ...

    def grant(self, lane: int, steps: int) -> None:
        """Let the lane write more steps."""
        ...

    def close_lane(self, lane: int) -> None:
        """Cancel the lane."""
        ...

    def judge(self, command: Judge) -> None:
        """Start a judge call."""
        ...

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        """Add candidates to the call, if the engine has not begun with it."""
        ...

    def cancel_judge(self, call: int) -> None:
        """Cancel the call."""
        ...

    def decide(self, decision: Decision) -> None:
        """Record what was decided."""
        ...

    def finish(self, finished: Finished) -> None:
        """The run is over; no command follows."""
        ...


def execute(commands: Iterable[Command], executor: Executor) -> None:
    """Carry out the commands, in order."""
    for command in commands:
        match command:
            case OpenLane():
                executor.open_lane(command)
            case GrantSteps(lane, steps):
                executor.grant(lane, steps)
            case CloseLane(lane):
                executor.close_lane(lane)
            case Judge():
                executor.judge(command)
            case ExtendJudge(call, candidates):
                executor.extend_judge(call, candidates)
            case CancelJudge(call):
                executor.cancel_judge(call)
            case Commit() | Reject() | Discard() | Warn():
                executor.decide(command)
            case Finished():
                executor.finish(command)
            case _:
                assert_never(command)
