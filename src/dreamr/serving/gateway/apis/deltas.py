"""From the events of a run to pieces of reasoning, answer and calls, which all APIs send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.answers import CallDelta
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.summary import answers, committed
from dreamr.steps import TagFilter, without_tags
from dreamr.trace import AnswerExtended, Event, Result, RunFinished, StepCommitted


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the reasoning, without the tags of thoughts; `step` is what it came with."""

    text: str
    step: StepCommitted | None = None


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of the answer; `step` is what it came with."""

    text: str
    step: StepCommitted | None = None


Delta: TypeAlias = ReasoningDelta | AnswerDelta | CallDelta


@dataclass(slots=True)
class Deltas:
    """Splits a run into pieces of its reasoning, its answer and its calls.

    Attributes:
        parsed: The request.
    """

    parsed: ParsedRequest
    _reasoning: TagFilter = field(default_factory=TagFilter, init=False)
    _last: StepCommitted | None = field(default=None, init=False)  # the answer, until it is sent
    _text: str = field(default="", init=False)  # answer that came in pieces
    _sent: int = field(default=0, init=False)  # characters of it that were sent
    _called: bool = field(default=False, init=False)

    def of(self, event: Event) -> Iterator[Delta]:
        """Yield the pieces that an event adds."""
        match event:
            case StepCommitted() if answers(event):
                self._last = event
            case StepCommitted():
                yield ReasoningDelta(self._reasoning.push(event.step.text), event)
            case AnswerExtended():
                yield from self._extended(event)
            case RunFinished(result=result):
                yield from self._finished(result)

    def _extended(self, event: AnswerExtended) -> Iterator[Delta]:
        if thought := self._reasoning.push(event.reasoning):
            yield ReasoningDelta(thought)
        self._text += event.text
        text = self.parsed.until_stop(self._text)
        # What may be the beginning of a stop sequence is not sent yet.
        held = max(map(len, self.parsed.stop), default=1) - 1 if text == self._text else 0
        if len(text) - held > self._sent:
            yield AnswerDelta(text[self._sent : len(text) - held])
            self._sent = len(text) - held
        self._called = self._called or bool(event.calls)
        yield from event.calls

    def _finished(self, result: Result) -> Iterator[Delta]:
        if held := self._reasoning.close():
            yield ReasoningDelta(held)
        rest = self.parsed.until_stop(self._text or result.answer)[self._sent :]
        if self._last is not None or rest:
            yield AnswerDelta(rest, self._last)
        if not self._called:
            for number, call in enumerate(result.calls):
                yield CallDelta(number, call.arguments, call.id, call.name)


def reasoning_of(result: Result) -> str:
    """Return the whole reasoning of a run, without the tags of thoughts."""
    steps = (event.step.text for event in committed(result) if not answers(event))
    return without_tags("".join(steps))
