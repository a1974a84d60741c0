"""The dispatcher of commands, shared by the driver and the simulator."""

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
    WriteAnswer,
)
from dreamr.steps import Step

Decision: TypeAlias = Commit | Reject | Discard | Warn


class Executor(Protocol):
    """An object that executes commands, over engines or in virtual time.

    A command may name a lane or judge call that has just ended, because the signal of its end has
    not reached the schedule yet. The executor must ignore such commands.
    """

    def open_lane(self, command: OpenLane) -> None:
        """Start a stream."""
        ...

    def write_answer(self, command: WriteAnswer) -> None:
        """Start the answer in its form."""
        ...

    def grant(self, lane: int, steps: int) -> None:
        """Grant a lane credit for more steps."""
        ...

    def close_lane(self, lane: int) -> None:
        """Cancel a lane."""
        ...

    def judge(self, command: Judge) -> None:
        """Start a judge call."""
        ...

    def extend_judge(self, call: int, candidates: tuple[Step, ...]) -> None:
        """Append candidates to a judge call, unless its engine has already begun."""
        ...

    def cancel_judge(self, call: int) -> None:
        """Cancel a judge call."""
        ...

    def decide(self, decision: Decision) -> None:
        """Record a commit, a rejection, a discarded step or a warning."""
        ...

    def finish(self, finished: Finished) -> None:
        """End the run; no command follows."""
        ...


def execute(commands: Iterable[Command], executor: Executor) -> None:
    """Execute the commands in order."""
    for command in commands:
        match command:
            case OpenLane():
                executor.open_lane(command)
            case WriteAnswer():
                executor.write_answer(command)
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
