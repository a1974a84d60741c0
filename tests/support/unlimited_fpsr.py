"""A schedule for tests: FPSR without limits on judge calls and fallbacks.

Each drafted step gets its own judge call as soon as it is complete, and the target writes its own
step after every drafted prefix. The known figures assume this schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dreamr.gate import Verdict
from dreamr.schedules import (
    CancelJudge,
    CloseLane,
    Command,
    Commit,
    Finished,
    GrantSteps,
    Judge,
    Judged,
    OpenLane,
    Reject,
    ScheduleConfig,
    Signal,
    StepDone,
)
from dreamr.steps import Role, Step


@dataclass
class _Drafted:
    step: Step
    call: int
    verdict: Verdict | None = None


class UnlimitedFpsr:
    def __init__(self, options: ScheduleConfig) -> None:
        self.options = options
        self.prefix: list[str] = []
        self.drafted: list[_Drafted] = []
        self.targets: dict[int, int] = {}  # lane by position
        self.own: dict[int, Step] = {}
        self.draft = -1
        self.falling_back = False
        self.numbers = 0
        self.commands: list[Command] = []

    def start(self) -> Sequence[Command]:
        self.redraft()
        return self.take()

    def handle(self, signal: Signal) -> Sequence[Command]:
        match signal:
            case StepDone(lane, step) if lane == self.draft:
                self.heard_draft(step)
            case StepDone(lane, step) if lane in self.targets.values():
                position = next(p for p, number in self.targets.items() if number == lane)
                self.own[position] = step
                self.close(position)
            case Judged(call, (verdict,)):
                for drafted in self.drafted:
                    if drafted.call == call:
                        drafted.verdict = verdict
        self.settle()
        return self.take()

    def take(self) -> list[Command]:
        commands, self.commands = self.commands, []
        return commands

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def open(self, role: Role, prefix: list[str], credit: int) -> int:
        lane = self.number()
        self.commands.append(OpenLane(lane, role, tuple(prefix), credit, self.options.max_tokens))
        return lane

    def close(self, position: int) -> None:
        self.commands.append(CloseLane(self.targets.pop(position)))

    def redraft(self) -> None:
        self.draft = self.open("draft", self.prefix, self.options.window)
        self.fallback(self.prefix)

    def fallback(self, prefix: list[str]) -> None:
        self.targets[len(prefix)] = self.open("target", prefix, 1)

    def heard_draft(self, step: Step) -> None:
        before = self.prefix + [drafted.step.text for drafted in self.drafted]
        self.drafted.append(_Drafted(step, self.number()))
        self.commands.append(Judge(self.drafted[-1].call, tuple(before), (step,)))
        self.fallback([*before, step.text])

    def settle(self) -> None:
        while self.drafted and (verdict := self.drafted[0].verdict) is not None:
            step = self.drafted.pop(0).step
            position = len(self.prefix)
            if not verdict.accepted:
                self.commands.append(Reject(position, step, verdict))
                self.fall_back()
                break
            self.commit(step, "draft", verdict)
            self.own.pop(position, None)
            if position in self.targets:
                self.close(position)
            self.commands.append(GrantSteps(self.draft, 1))
        if self.falling_back and len(self.prefix) in self.own:
            self.falling_back = False
            self.commit(self.own.pop(len(self.prefix)), "target", None)
            self.redraft()
        if len(self.prefix) >= self.options.max_steps:
            self.commands.append(Finished("length"))

    def commit(self, step: Step, source: Role, verdict: Verdict | None) -> None:
        self.commands.append(Commit(len(self.prefix), step, source, verdict))
        self.prefix.append(step.text)

    def fall_back(self) -> None:
        self.falling_back = True
        self.commands.append(CloseLane(self.draft))
        self.commands += [
            CancelJudge(drafted.call) for drafted in self.drafted if drafted.verdict is None
        ]
        self.drafted.clear()
        for position in [p for p in self.targets if p > len(self.prefix)]:
            self.close(position)
        self.own = {p: step for p, step in self.own.items() if p <= len(self.prefix)}
