"""Conversion of a run's events to chunks and bodies of OpenAI's API, without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dreamr.answers import CallDelta, TokenLogprob
from dreamr.serving.gateway.apis.choices import ChoiceEvent
from dreamr.serving.gateway.apis.deltas import (
    AnswerDelta,
    Delta,
    Deltas,
    ReasoningDelta,
    reasoning_of,
)
from dreamr.serving.gateway.apis.logprobs import logprobs_json
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

FINISH: Mapping[str, str] = {
    "answer": "stop",
    "stop": "stop",
    "length": "length",
    "deadline": "length",
    "failed": "length",
}


@dataclass(slots=True)
class _Choice:
    """One of the answers to a request: its pieces, and the result of its run once that ended."""

    deltas: Deltas
    result: Result | None = None


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
    _choices: list[_Choice] = field(init=False)

    def __post_init__(self) -> None:
        self._choices = [_Choice(Deltas(self.parsed)) for _ in range(self.parsed.choices)]

    @property
    def counts_prompt(self) -> bool:
        """Whether the end of a stream shows the number of tokens of the prompt."""
        return self.parsed.include_usage

    def opening(self) -> Iterator[ServerEvent]:
        """Yield the first chunk of each answer of a stream."""
        for index in range(self.parsed.choices):
            yield ServerEvent(self._chunk({"role": "assistant", "content": ""}, index))

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
            yield {**self._chunk(None), "dreamr": self._described(event)}
        if isinstance(event, ChoiceEvent):
            yield from self._answer(event.index, event.event)
        elif self.parsed.choices == 1:
            yield from self._answer(0, event)
        elif isinstance(event, RunFinished):
            yield {**self._chunk(None), "dreamr": self.summary.of(event.result)}

    def _described(self, event: Event) -> Json:
        """Return an event as JSON, for clients that ask for all of them."""
        if isinstance(event, ChoiceEvent):
            return {**self._described(event.event), "index": event.index}
        found: Json = {"event": event_to_json(_shown(event))}
        if isinstance(event, RunStarted):
            found["attachments"] = self.summary.attachments
        return found

    def _answer(self, index: int, event: Event) -> Iterator[Json]:
        """Yield the chunks of one answer for an event of its run."""
        choice = self._choices[index]
        for delta in choice.deltas.of(event):
            yield self._piece(delta, index)
        if isinstance(event, RunFinished):
            choice.result = event.result
            last = self._chunk({}, index, _finish(self.parsed.stopped(event.result)))
            alone = self.parsed.choices == 1
            yield {**last, "dreamr": self.summary.of(event.result)} if alone else last

    def _piece(self, delta: Delta, index: int) -> Json:
        match delta:
            case ReasoningDelta(text=text):
                chunk = self._chunk(_thinking(text), index)
            case AnswerDelta(text=text, logprobs=logprobs):
                chunk = self._chunk({"content": text}, index, logprobs=_logprobs(logprobs))
            case CallDelta():
                return self._chunk({"tool_calls": [_call(delta)]}, index)
        if delta.step is None:
            return chunk
        return {**chunk, "dreamr": {"step": described(delta.step)}}

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the response body of a request without streaming."""
        results = [choice.result or result for choice in self._choices]
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(index, one) for index, one in enumerate(results)],
            "usage": usage(result, prompt),
            "dreamr": self.summary.of(result),
        }

    def _choice(self, index: int, result: Result) -> Json:
        """Return one answer of a response that is not streamed."""
        result = self.parsed.stopped(result)
        message = {
            "role": "assistant",
            "content": result.answer if result.answer or not result.calls else None,
            **_thinking(reasoning_of(result)),
            "refusal": None,
        }
        if result.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in result.calls
            ]
        return {
            "index": index,
            "message": message,
            "finish_reason": _finish(result),
            "logprobs": _logprobs(result.answer_logprobs),
        }

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.parsed.model,
            "system_fingerprint": None,
        }

    def _chunk(
        self,
        delta: Json | None,
        index: int = 0,
        finish: str | None = None,
        logprobs: Json | None = None,
    ) -> Json:
        head = self._head("chat.completion.chunk")
        if delta is None:
            return {**head, "choices": []}
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return {**head, "choices": [choice]}


def _finish(result: Result) -> str:
    if result.calls and result.complete:  # else the last call may be cut
        return "tool_calls"
    return FINISH[result.finish]


def _logprobs(tokens: Sequence[TokenLogprob]) -> Json | None:
    """Return log-probabilities in OpenAI's format; None if there are none."""
    if not tokens:
        return None
    return {"content": logprobs_json(tokens), "refusal": None}


def usage(result: Result, prompt: int) -> Json:
    """Return the token usage in OpenAI's format.

    Accepted prediction tokens are tokens of the draft in the committed text; rejected prediction
    tokens are all its other tokens. Discarded tokens do not count as completion tokens.
    """
    counts, draft = TokenCounts.of(result), result.usage.draft
    details = {
        "reasoning_tokens": counts.reasoning,
        "accepted_prediction_tokens": draft.accepted,
        "rejected_prediction_tokens": draft.rejected + draft.canceled,
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
