"""From the events of a run to pieces of reasoning, answer and calls, which all APIs send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.answers import CallDelta, TokenLogprob
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
    """A piece of the answer; `step` is what it came with.

    Attributes:
        text: The piece; empty if only log-probabilities came.
        step: The step that is the answer.
        logprobs: Log-probabilities of its tokens, if they were demanded.
    """

    text: str
    step: StepCommitted | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


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
    _thought: bool = field(default=False, init=False)  # whether reasoning came in pieces

    def of(self, event: Event) -> Iterator[Delta]:
        """Yield the pieces that an event adds."""
        match event:
            case StepCommitted() if answers(event):
                self._last = event
            case StepCommitted() if self._thought:  # its text was sent in pieces
                yield ReasoningDelta("", event)
            case StepCommitted():
                yield ReasoningDelta(self._reasoning.push(event.step.text), event)
            case AnswerExtended():
                yield from self._extended(event)
            case RunFinished(result=result):
                yield from self._finished(result)

    def _extended(self, event: AnswerExtended) -> Iterator[Delta]:
        if event.reasoning:
            self._thought = True
            yield ReasoningDelta(self._reasoning.push(event.reasoning))
        if (event.text or event.calls) and (rest := self._reasoning.close()):
            yield ReasoningDelta(rest)
        self._text += event.text
        text = self.parsed.until_stop(self._text)
        # What may be the beginning of a stop sequence is not sent yet, nor what is before another
        # one that has been found: the first to begin counts.
        held = max(map(len, self.parsed.stop), default=1) - 1
        end = max(self._sent, min(len(text), len(self._text) - held))
        if end > self._sent or event.logprobs:
            yield AnswerDelta(text[self._sent : end], logprobs=event.logprobs)
            self._sent = end
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
