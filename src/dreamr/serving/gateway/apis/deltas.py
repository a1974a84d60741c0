"""From the events of a run to pieces of reasoning and answer, which all APIs send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.summary import answers, committed
from dreamr.steps import TagFilter, without_tags
from dreamr.trace import Event, Result, RunFinished, StepCommitted


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


Delta: TypeAlias = ReasoningDelta | AnswerDelta


@dataclass(slots=True)
class Deltas:
    """Splits a run into pieces of its reasoning and its answer.

    Attributes:
        parsed: The request.
    """

    parsed: ParsedRequest
    _reasoning: TagFilter = field(default_factory=TagFilter, init=False)
    _last: StepCommitted | None = field(default=None, init=False)  # the answer, until it is sent

    def of(self, event: Event) -> Iterator[Delta]:
        """Yield the pieces that an event adds."""
        match event:
            case StepCommitted() if answers(event):
                self._last = event
            case StepCommitted():
                yield ReasoningDelta(self._reasoning.push(event.step.text), event)
            case RunFinished(result=result):
                if held := self._reasoning.close():
                    yield ReasoningDelta(held)
                if self._last is not None or result.answer:
                    yield AnswerDelta(self.parsed.until_stop(result.answer), self._last)


def reasoning_of(result: Result) -> str:
    """Return the whole reasoning of a run, without the tags of thoughts."""
    steps = (event.step.text for event in committed(result) if not answers(event))
    return without_tags("".join(steps))
