"""Conversion of a run's events to chunks and bodies of OpenAI's API, without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dreamr.answers import CallDelta
from dreamr.serving.gateway.apis.deltas import (
    AnswerDelta,
    Delta,
    Deltas,
    ReasoningDelta,
    reasoning_of,
)
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import ServerEvent
from dreamr.serving.gateway.apis.summary import Summary, TokenCounts, described
from dreamr.serving.gateway.errors import ApiError
from dreamr.steps import Step, without_tags
from dreamr.trace import (
    Event,
    Result,
    RunFinished,
    RunStarted,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    event_to_json,
)

Json = dict[str, Any]

FINISH: Mapping[str, str] = {"answer": "stop", "stop": "stop", "length": "length"}


@dataclass(slots=True)
class ChatReply:
    """Builder of the reply to one request.

    Committed steps become `reasoning_content` (and `reasoning`), the answer becomes `content`, both
    without the tags of thoughts.

    Attributes:
        id: Id of the completion.
        created: Time of the request, in seconds since 1970.
        parsed: The request.
        summary: Describes the run.
    """

    id: str
    created: int
    parsed: ParsedRequest
    summary: Summary
    _deltas: Deltas = field(init=False)

    def __post_init__(self) -> None:
        self._deltas = Deltas(self.parsed)

    @property
    def counts_prompt(self) -> bool:
        """Whether the end of a stream shows the number of tokens of the prompt."""
        return self.parsed.include_usage

    def opening(self) -> Iterator[ServerEvent]:
        """Yield the first chunk of a stream."""
        yield ServerEvent(self._chunk({"role": "assistant", "content": ""}))

    def events(self, event: Event) -> Iterator[ServerEvent]:
        """Yield the chunks for an event; for the last event, all chunks except the usage."""
        yield from map(ServerEvent, self._chunks(event))

    def closing(self, result: Result, prompt: int) -> Iterator[ServerEvent]:
        """Yield the chunk with the token usage, which ends a stream if requested."""
        if self.parsed.include_usage:
            yield ServerEvent({**self._chunk(None), "usage": usage(result, prompt)})

    def failure(self, error: ApiError) -> Iterator[ServerEvent]:
        """Yield the error that ends a stream."""
        yield ServerEvent(error.body)

    def _chunks(self, event: Event) -> Iterator[Json]:
        if self.parsed.events:
            found: Json = {"event": event_to_json(_shown(event))}
            if isinstance(event, RunStarted):
                found["attachments"] = self.summary.attachments
            yield {**self._chunk(None), "dreamr": found}
        for delta in self._deltas.of(event):
            yield self._piece(delta)
        if isinstance(event, RunFinished):
            yield {
                **self._chunk({}, FINISH.get(event.result.finish, "stop")),
                "dreamr": self.summary.of(event.result),
            }

    def _piece(self, delta: Delta) -> Json:
        match delta:
            case ReasoningDelta(text=text):
                chunk = self._chunk(_thinking(text))
            case AnswerDelta(text=text):
                chunk = self._chunk({"content": text})
            case CallDelta():
                return self._chunk({"tool_calls": [_call(delta)]})
        if delta.step is None:
            return chunk
        return {**chunk, "dreamr": {"step": described(delta.step)}}

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the response body of a request without streaming."""
        message = {
            "role": "assistant",
            "content": self.parsed.until_stop(result.answer),
            **_thinking(reasoning_of(result)),
            "refusal": None,
        }
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": FINISH.get(result.finish, "stop"),
            "logprobs": None,
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(result, prompt),
            "dreamr": self.summary.of(result),
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
    counts, draft = TokenCounts.of(result), result.usage.draft
    details = {
        "reasoning_tokens": counts.reasoning,
        "accepted_prediction_tokens": draft.accepted,
        "rejected_prediction_tokens": draft.rejected + draft.cancelled,
        "audio_tokens": 0,
    }
    return {
        "prompt_tokens": prompt,
        "completion_tokens": counts.completion,
        "total_tokens": prompt + counts.completion,
        "completion_tokens_details": details,
    }


def _call(delta: CallDelta) -> Json:
    """Return a piece of a call; the first has its id and the name of the function."""
    if not delta.id:
        return {"index": delta.index, "function": {"arguments": delta.arguments}}
    function = {"name": delta.name, "arguments": delta.arguments}
    return {"index": delta.index, "id": delta.id, "type": "function", "function": function}


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
