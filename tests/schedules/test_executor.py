"""Each command is dispatched to the matching method of the executor, in order."""

from __future__ import annotations

from typing import Any, get_args

from dreamr.gate import Verdict
from dreamr.schedules import (
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
    execute,
)
from dreamr.steps import Ending, Step

STEP = Step("Tea costs 12.\n\n", 5, Ending.DELIMITER)
NO = Verdict(False, 0.1, 0.7, "", kind="ratio")


class Recording:
    """Records calls with their arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))


def test_each_command_reaches_its_method() -> None:
    opened, asked = OpenLane(0, "draft", (), 1, 9), Judge(0, (), (STEP,))
    answered = WriteAnswer(2, ("So.",), 1, 9)
    decisions = [Commit(0, STEP, "draft"), Reject(0, STEP, NO), Discard(0, STEP, "draft", "")]
    over = Finished("stop")
    commands: list[Command] = [
        opened,
        answered,
        GrantSteps(0, 2),
        CloseLane(0),
        asked,
        ExtendJudge(0, (STEP,)),
        CancelJudge(0),
        *decisions,
        Warn("late"),
        over,
    ]
    assert {type(command) for command in commands} == set(get_args(Command))
    executor = Recording()
    execute(commands, executor)
    assert executor.calls == [
        ("open_lane", opened),
        ("write_answer", answered),
        ("grant", 0, 2),
        ("close_lane", 0),
        ("judge", asked),
        ("extend_judge", 0, (STEP,)),
        ("cancel_judge", 0),
        *(("decide", decision) for decision in decisions),
        ("decide", Warn("late")),
        ("finish", over),
    ]
