"""Helpers to send signals to FPSR and check the returned commands."""

from __future__ import annotations

from typing import TypeVar

from dreamr.gate import Evidence, Verdict
from dreamr.schedules import (
    CloseLane,
    Command,
    Judge,
    Judged,
    LaneEnded,
    OpenLane,
    ScheduleConfig,
    Signal,
    StepDone,
    by_name,
)
from dreamr.steps import Ending, Finish, Role, Step

C = TypeVar("C", bound=Command)

YES = Verdict(True, 0.9, 0.7, "", kind="ratio")
NO = Verdict(False, 0.1, 0.7, "", kind="ratio")
SURE = Verdict(True, 0.99, 0.95, "", kind="draft_probability")
NO_BUT = Verdict(False, 0.1, 0.7, "", Evidence(0.1, 0.9, target_prefix="ow"), kind="ratio")


def step(text: str, ending: Ending = Ending.DELIMITER) -> Step:
    return Step(text, 3, ending)


A, B, C1, OWN = (step(f"{name}\n\n") for name in ("a", "b", "c", "own"))
ANSWER = step("Answer: 4", Ending.ANSWER)
CUT = step("and so on and so on", Ending.CAP)


class Talk:
    """A schedule with its open lanes, all lanes it opened, and its last judge call."""

    def __init__(self, *, method: str = "fpsr", **options: object) -> None:
        self.schedule = by_name(method, ScheduleConfig(**options))  # type: ignore[arg-type]
        self.lanes: dict[Role, int] = {}
        self.opened: dict[Role, list[int]] = {"draft": [], "target": []}
        self.call = -1
        self.said: list[Command] = []
        self.hear(list(self.schedule.start()))

    def hear(self, commands: list[Command]) -> list[Command]:
        self.said = commands
        for command in commands:
            match command:
                case OpenLane(lane, role):
                    self.lanes[role] = lane
                    self.opened[role].append(lane)
                case CloseLane(lane):
                    self.lanes = {r: n for r, n in self.lanes.items() if n != lane}
                case Judge(call):
                    self.call = call
        return commands

    def tell(self, signal: Signal) -> list[Command]:
        return self.hear(list(self.schedule.handle(signal)))

    def writes(
        self,
        role: Role,
        step: Step | None,
        finish: Finish | None = None,
        verdict: Verdict | None = None,
    ) -> list[Command]:
        lane = self.lanes.pop(role) if finish else self.lanes[role]
        if step is not None:
            return self.tell(StepDone(lane, step, finish, verdict))
        assert finish is not None
        return self.tell(LaneEnded(lane, finish))

    def judges(self, *verdicts: Verdict) -> list[Command]:
        return self.tell(Judged(self.call, verdicts))

    def only(self, kind: type[C]) -> C:
        (command,) = self.all(kind)
        return command

    def all(self, kind: type[C]) -> list[C]:
        return [command for command in self.said if isinstance(command, kind)]
