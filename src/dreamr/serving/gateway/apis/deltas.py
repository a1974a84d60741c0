"""From the events of a run to pieces of reasoning, answer and calls, which all APIs send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.answers import CallDelta, TokenLogprob, starts_of
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
    # Log-probabilities that were not sent, each with the place where its token begins.
    _held: list[tuple[int, TokenLogprob]] = field(default_factory=list, init=False)
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
        starts = starts_of(event.logprobs, len(self._text))
        self._held += zip(starts, event.logprobs, strict=True)
        self._text += event.text
        text = self.parsed.until_stop(self._text)
        # What may be the beginning of a stop sequence is not sent yet, nor what is before another
        # one that has been found: the first to begin counts.
        held = max(map(len, self.parsed.stop), default=1) - 1
        calls = event.calls if self.parsed.stop_in(self._text) is None else ()
        if calls:  # they come after the text
            held = 0
        end = max(self._sent, min(len(text), len(self._text) - held))
        logprobs = self._begun(end)
        if end > self._sent or logprobs:
            yield AnswerDelta(text[self._sent : end], logprobs=logprobs)
            self._sent = end
        if calls:
            self._called = True
            yield from calls

    def _begun(self, end: int | None) -> tuple[TokenLogprob, ...]:
        """Take the log-probabilities of the tokens that begin before a place, or of all."""
        if end is None or not self.parsed.stop:
            end = 1 + max((start for start, _ in self._held), default=0)
        found = tuple(token for start, token in self._held if start < end)
        self._held = [one for one in self._held if one[0] >= end]
        return found

    def _finished(self, result: Result) -> Iterator[Delta]:
        if held := self._reasoning.close():
            yield ReasoningDelta(held)
        whole = self._text or result.answer
        found = self.parsed.stop_in(whole)
        end = None if found is None else found[0]
        rest, logprobs = whole[self._sent : end], self._begun(end)
        if self._last is not None or rest or logprobs:
            yield AnswerDelta(rest, self._last, logprobs)
        if not self._called and found is None:
            for number, call in enumerate(result.calls):
                yield CallDelta(number, call.arguments, call.id, call.name)


def reasoning_of(result: Result) -> str:
    """Return the whole reasoning of a run, without the tags of thoughts."""
    steps = (event.step.text for event in committed(result) if not answers(event))
    return without_tags("".join(steps))
