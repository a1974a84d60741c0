"""Conversion of a run's events to chunks and bodies of OpenAI's API, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dreamr._load import Level
from dreamr.serving.gateway.request import ParsedRequest
from dreamr.steps import Step, TagFilter, without_tags
from dreamr.trace import (
    Event,
    Result,
    RunFinished,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    event_to_json,
)

Json = dict[str, Any]

_FINISH: Mapping[str, str] = {"answer": "stop", "stop": "stop", "length": "length"}


@dataclass(slots=True)
class Reply:
    """Builder of the reply to one request.

    Committed steps become `reasoning_content` (and `reasoning`), the answer becomes `content`, both
    without the tags of thoughts. As with other reasoning models, a stop sequence ends the answer,
    not the reasoning.

    Attributes:
        id: Id of the completion.
        created: Time of the request, in seconds since 1970.
        parsed: The request.
        alone: Estimates the seconds of the target alone for a result; None if unknown.
        level: Reduction of speculation that the run was subject to.
    """

    id: str
    created: int
    parsed: ParsedRequest
    alone: Callable[[Result], float | None]
    level: Level = Level.FULL
    _reasoning: TagFilter = field(default_factory=TagFilter, init=False)
    _last: StepCommitted | None = field(default=None, init=False)  # the answer, until it is sent

    def opening(self) -> Json:
        """Return the first chunk of a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunks(self, event: Event) -> Iterator[Json]:
        """Yield the chunks for an event; for the last event, all chunks except the usage."""
        if self.parsed.events:
            yield {**self._chunk(None), "dreamr": {"event": event_to_json(_shown(event))}}
        match event:
            case StepCommitted() if _answers(event):
                self._last = event
            case StepCommitted():
                yield self._step(event, _thinking(self._reasoning.push(event.step.text)))
            case RunFinished(result=result):
                if held := self._reasoning.close():
                    yield self._chunk(_thinking(held))
                if self._last is not None or result.answer:
                    yield self._step(self._last, {"content": self._content(result.answer)})
                yield {
                    **self._chunk({}, _FINISH.get(result.finish, "stop")),
                    "dreamr": self.summary(result),
                }

    def _step(self, event: StepCommitted | None, delta: Json) -> Json:
        chunk = self._chunk(delta)
        return chunk if event is None else {**chunk, "dreamr": {"step": _step(event)}}

    def _content(self, answer: str) -> str:
        ends = [place for stop in self.parsed.stop if (place := answer.find(stop)) >= 0]
        return answer[: min(ends)] if ends else answer

    def usage_chunk(self, result: Result, prompt: int) -> Json:
        """Return the chunk with the token usage, which ends a stream if requested."""
        return {**self._chunk(None), "usage": usage(result, prompt)}

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the response body of a request without streaming."""
        committed = _committed(result)
        steps = (event.step.text for event in committed if not _answers(event))
        message = {
            "role": "assistant",
            "content": self._content(result.answer),
            **_thinking(without_tags("".join(steps))),
            "refusal": None,
        }
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _FINISH.get(result.finish, "stop"),
            "logprobs": None,
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(result, prompt),
            "dreamr": self.summary(result),
        }

    def summary(self, result: Result) -> Json:
        """Return the statistics of a run: the field `dreamr` of a response."""
        return {
            "method": self.parsed.options.method,
            "level": self.level.name.lower(),
            "seconds": result.seconds,
            "target_alone_seconds": self.alone(result),
            "steps": [_step(event) for event in _committed(result)],
            "usage": asdict(result.usage),
            "finish": result.finish,
            "ignored": list(self.parsed.ignored),
            "ignored_count": self.parsed.ignored_count,
        }

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.parsed.model,
            "system_fingerprint": None,
        }

    def _chunk(self, delta: Json | None, finish: str | None = None) -> Json:
        head = self._head("chat.completion.chunk")
        if delta is None:
            return {**head, "choices": []}
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "choices": [choice]}


def usage(result: Result, prompt: int) -> Json:
    """Return the token usage in OpenAI's format.

    Accepted prediction tokens are tokens of the draft in the committed text; rejected prediction
    tokens are all its other tokens. Discarded tokens do not count as completion tokens.
    """
    committed = _committed(result)
    completion = sum(event.step.tokens for event in committed)
    draft = result.usage.draft
    details = {
        "reasoning_tokens": sum(event.step.tokens for event in committed if not _answers(event)),
        "accepted_prediction_tokens": draft.accepted,
        "rejected_prediction_tokens": draft.rejected + draft.cancelled,
        "audio_tokens": 0,
    }
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": details,
    }


def _thinking(text: str) -> Json:
    return {"reasoning_content": text, "reasoning": text}


def _shown(event: Event) -> Event:
    """Return an event as it is shown to users, without the tags of thoughts."""
    match event:
        case StepReady() | StepCommitted() | StepRejected() | StepDiscarded():
            return replace(event, step=_shown_step(event.step))
        case RunFinished(result=result):
            steps = tuple(replace(one, step=_shown_step(one.step)) for one in result.steps)
            return replace(event, result=replace(result, steps=steps))
    return event


def _shown_step(step: Step) -> Step:
    return replace(step, text=without_tags(step.text))


def _committed(result: Result) -> list[StepCommitted]:
    return [event for event in result.events if isinstance(event, StepCommitted)]


def _answers(event: StepCommitted) -> bool:
    """Return whether a step is sent as the answer rather than as reasoning."""
    return event.step.is_answer or event.last


def _step(event: StepCommitted) -> Json:
    return {
        "position": event.position,
        "source": event.source,
        "tokens": event.step.tokens,
        "score": None if event.verdict is None else round(event.verdict.score, 6),
        "kind": None if event.verdict is None else event.verdict.kind,
        "seconds": round(event.time, 6),
    }
