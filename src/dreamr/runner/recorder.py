"""Record the events and the result of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio

from dreamr.answers import WrittenAnswer
from dreamr.schedules import Command, Commit, Decision, Discard, Finished, Reject, Warn
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

# Commands that record decisions; each becomes an event with the same values.
_EVENTS: Mapping[type[Command], type[Event]] = {
    Commit: StepCommitted,
    Reject: StepRejected,
    Discard: StepDiscarded,
    Warn: Note,
}


def event_of(decision: Decision, seconds: float) -> Event:
    """Return the event of a decision made `seconds` after the start of the run."""
    kind = _EVENTS[type(decision)]
    return kind(seconds, *(getattr(decision, name) for name in type(decision).__match_args__))


class Recorder:
    """The events of a run and the result computed from them."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        """Start the clock of the run; `emit` is called with each event."""
        self._emit = emit
        self._events: list[Event] = []
        self._steps: list[CommittedStep] = []
        self._overlap: dict[str, int] = {}
        self._written: WrittenAnswer | None = None
        self._started = anyio.current_time()

    def add(self, kind: type[Event], *values: Any) -> None:
        """Record an event of this kind at the current time."""
        self._keep(kind(self.seconds, *values))

    def decide(self, decision: Decision) -> None:
        """Record a decision of the schedule."""
        self._keep(event_of(decision, self.seconds))
        if isinstance(decision, Commit):
            self._steps.append(CommittedStep(decision.step, decision.source, decision.verdict))

    def note_overlap(self, text: str, overlap: int) -> None:
        """Note how many characters at the end of a text are the beginning of a stop text."""
        if overlap:
            self._overlap[text] = overlap
        else:  # most texts, which need not be kept
            self._overlap.pop(text, None)

    def note_answer(self, written: WrittenAnswer) -> None:
        """Note the answer in its form, which is the last step."""
        self._written = written

    def _cut(self) -> None:
        """Remove the beginning of a stop text from the end of the committed text."""
        rest = self._overlap.get("".join(one.step.text for one in self._steps), 0)
        while rest and self._steps:
            last = self._steps.pop()
            text = last.step.text[: max(0, len(last.step.text) - rest)]
            rest -= len(last.step.text) - len(text)
            if text:
                self._steps.append(replace(last, step=replace(last.step, text=text)))

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._emit(event)

    def at(self, moment: float) -> float:
        """Convert a time of time.monotonic to seconds since the start of the run."""
        return self.seconds - (time.monotonic() - moment)

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return anyio.current_time() - self._started

    def finish(self, finished: Finished, step_format: StepFormat) -> Result:
        """Record the last event and return the result."""
        self._cut()
        written = self._written
        answer = self._answer(finished, step_format) if written is None else written.text.strip()
        result = Result(
            answer=answer,
            steps=tuple(self._steps),
            usage=usage_of(self._events),
            seconds=self.seconds,
            finish=finished.finish,
            error=finished.error,
            events=tuple(self._events),
            calls=() if written is None else written.calls,
            answer_logprobs=() if written is None else written.logprobs,
        )
        self.add(RunFinished, result)
        return result

    def _answer(self, finished: Finished, step_format: StepFormat) -> str:
        """Return the marked answer, even if cut; otherwise the last step of a complete run.

        Only the last text outside a thought counts. It is split again, because some methods commit
        pieces of steps.
        """
        said = step_format.conclusion("".join(step.step.text for step in self._steps))
        splitter = StepSplitter(
            replace(
                step_format,
                max_tokens=sys.maxsize,
                max_answer_tokens=sys.maxsize,
                opens_thought=False,
            )
        )
        steps = splitter.push(said, 0)
        if (tail := splitter.finish()) is not None:
            steps.append(tail)
        last = steps[-1].text if steps else ""
        marked = step_format.answer(last)
        if marked is not None:
            return marked
        return last.strip() if finished.finish in ("stop", "deadline") else ""
