"""Closing of thoughts that reach their limit: one model then writes the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dreamr.schedules.draft_end import RUN_ENDED
from dreamr.schedules.protocol import (
    Command,
    Commit,
    Discard,
    Finished,
    OpenLane,
    Schedule,
    ScheduleConfig,
    Signal,
    Warn,
)
from dreamr.schedules.single_model import SingleModel
from dreamr.schedules.text_watch import TextLimits
from dreamr.steps import Ending, Role, Step, Thoughts

_CLOSED = "the thought was closed"


class ThoughtCloser:
    """Runs a schedule; if it ends inside a thought at a limit, closes that and lets a model answer.

    The schedule has then closed its lanes and judge calls, and discarded all undecided steps. A
    step without tokens closes the thought. The answer is written by `SingleModel`, without a
    thinking budget. A thought is closed only once in a run.
    """

    def __init__(self, schedule: Schedule, config: ScheduleConfig, role: Role) -> None:
        """Wrap a schedule.

        Args:
            schedule: A fresh schedule.
            config: Its options.
            role: Model that writes the answer.
        """
        self._schedule = schedule
        self._config = config
        self._limits = config.text or TextLimits()
        self._role: Role = role
        self._steps: list[Step] = []
        self._lanes = 0  # number of the next lane
        self._closed = False

    def start(self) -> Sequence[Command]:
        """Start the schedule."""
        return self._follow(self._schedule.start())

    def handle(self, signal: Signal) -> Sequence[Command]:
        """Pass a signal to the schedule, or to the one that writes the answer."""
        return self._follow(self._schedule.handle(signal))

    def _follow(self, commands: Sequence[Command]) -> Sequence[Command]:
        for command in commands:
            match command:
                case Commit(_, step):
                    self._steps.append(step)
                case OpenLane(lane):
                    self._lanes = lane + 1
                case Finished(open_thought=str(why)) if not self._closed:
                    return [*_with_reasons(commands[:-1]), *self._close(why)]
                case Finished(open_thought=str(why)):
                    return [*commands[:-1], Warn(f"{why}: the run ends"), command]
        return commands

    def _close(self, why: str) -> Iterator[Command]:
        """Yield the commands that close the thought and begin the answer."""
        self._closed = True
        yield Warn(f"{why}: the thought is closed, and the {self._role} answers")
        step = closing_step("".join(step.text for step in self._steps), self._limits)
        yield Commit(len(self._steps), step, self._role)
        self._steps.append(step)
        text = replace(self._limits, thinking_budget=None)
        answer = SingleModel(replace(self._config, text=text, committed=()), self._role)
        answer.resume(self._steps, self._lanes)
        self._schedule = answer
        yield from answer.start()


def closing_step(text: str, limits: TextLimits) -> Step:
    """Return a step without tokens that closes the thought in which a text ends."""
    thoughts = Thoughts(opened=limits.opens_thought)
    thoughts.push(text)
    closing = limits.closing or f"{thoughts.closing_tag}\n\n"
    gap = "" if not text or text.endswith("\n") else "\n\n"
    return Step(f"{gap}{closing}", 0, Ending.DELIMITER)


def _with_reasons(commands: Iterable[Command]) -> Iterator[Command]:
    """Yield the commands that end a schedule, with the reason for which steps are discarded."""
    for command in commands:
        if isinstance(command, Discard) and command.why == RUN_ENDED:
            yield replace(command, why=_CLOSED)
        else:
            yield command
