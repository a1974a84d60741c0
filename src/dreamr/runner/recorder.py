"""Writing a run down while it happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dreamr.schedules import Command, Commit, Discard, Finished, Reject, Warn
from dreamr.steps import StepFormat, StepSplitter
from dreamr.trace import (
    CommittedStep,
    Event,
    Note,
    Result,
    RunFinished,
    StepCommitted,
    StepDiscarded,
    StepRejected,
    usage_of,
)

# The commands that only say what was decided; each is an event with the same values.
_DECISIONS: Mapping[type[Command], type[Event]] = {
    Commit: StepCommitted,
    Reject: StepRejected,
    Discard: StepDiscarded,
    Warn: Note,
}


def decision(seconds: float, command: Commit | Reject | Discard | Warn) -> Event:
    """The event that the schedule decided this, so many seconds after the run started."""
    kind = _DECISIONS[type(command)]
    return kind(seconds, *(getattr(command, name) for name in type(command).__match_args__))


class Record:
    """The events so far, each handed to `emit` as it happens, and the result made of them."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._events: list[Event] = []
        self._steps: list[CommittedStep] = []
        self._started = time.perf_counter()

    def add(self, kind: type[Event], *values: Any) -> None:
        """An event of this kind happens now."""
        self._keep(kind(self._seconds(), *values))

    def decide(self, command: Commit | Reject | Discard | Warn) -> None:
        """The schedule decided this."""
        self._keep(decision(self._seconds(), command))
        if isinstance(command, Commit):
            self._steps.append(CommittedStep(command.step, command.source, command.verdict))

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._emit(event)

    def at(self, moment: float) -> float:
        """Seconds since the run started, of a moment of time.monotonic."""
        return self._seconds() - (time.monotonic() - moment)

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def finish(self, finished: Finished, step_format: StepFormat) -> Result:
        """Close the record."""
        result = Result(
            answer=self._answer(finished, step_format),
            steps=tuple(self._steps),
            usage=usage_of(self._events),
            seconds=self._seconds(),
            finish=finished.finish,
            error=finished.error,
            events=tuple(self._events),
        )
        self.add(RunFinished, result)
        return result

    def _answer(self, finished: Finished, step_format: StepFormat) -> str:
        """The marked answer, as far as it came; else the last step, if it was meant as the last.

        Cut anew from the whole text: some methods commit pieces of steps.
        """
        cutter = StepSplitter(
            replace(step_format, max_tokens=sys.maxsize, max_answer_tokens=sys.maxsize)
        )
        steps = cutter.push("".join(committed.step.text for committed in self._steps), 0)
        if (tail := cutter.finish()) is not None:
            steps.append(tail)
        last = steps[-1].text if steps else ""
        marked = step_format.answer(last)
        if marked is not None:
            return marked
        return last.strip() if finished.finish == "stop" else ""
