"""OpenAI's completions of a text: `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from dreamr.serving.gateway.apis.chat.reply import FINISH, usage
from dreamr.serving.gateway.apis.deltas import AnswerDelta, Deltas, ReasoningDelta, reasoning_of
from dreamr.serving.gateway.apis.fields import (
    JsonModel,
    Sampled,
    read_stops,
    refuse_fields,
    some_names,
    validated,
)
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Identity, Json, Sender, ServerEvent
from dreamr.serving.gateway.apis.summary import Summary, described
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.trace import Event, Result, RunFinished

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "echo": (False,),
    "n": (1,),
    "best_of": (1,),
    "logprobs": (),
    "suffix": ("",),
    "prompt_embeds": (),
    "response_format": ({"type": "text"},),
}
_LABELS = {"user", "metadata", "request_id"}


class _StreamOptions(JsonModel):
    include_usage: bool = False


class _Body(Sampled):
    model: str
    prompt: Any
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None


class CompletionsApi:
    """OpenAI's completions. The prompt is asked as a question; the answer is the completion."""

    path = "/v1/completions"
    end = b"data: [DONE]\n\n"
    keep_alive = b": keep-alive\n\n"

    def read(self, body: bytes | bytearray, sender: Sender) -> ParsedRequest:
        """Parse and check the body of a request.

        Args:
            body: JSON text.
            sender: What is known about the request.

        Raises:
            ApiError: If the body is invalid, too large, or asks for something unsupported.
        """
        payload = validated(_Body, body)
        options, limits = sender.options_of(payload.model), sender.limits
        extra = payload.model_extra or {}
        refuse_fields(extra, _REFUSED)
        ignored = extra.keys() - _REFUSED.keys() - _LABELS
        parts = TurnCounter(limits, "prompt").count([_prompt(payload.prompt)])
        streamed = payload.stream_options
        return ParsedRequest(
            model=payload.model,
            turns=(ParsedMessage("user", parts),),
            options=payload.options(options, max_tokens=payload.max_tokens),
            stop=read_stops(payload.stop),
            stream=bool(payload.stream),
            include_usage=streamed is not None and streamed.include_usage,
            events=payload.extension.events,
            deadline=payload.deadline(limits.deadline),
            ignored=some_names(ignored),
            ignored_count=len(ignored),
        )

    def reply(self, parsed: ParsedRequest, summary: Summary, identity: Identity) -> CompletionReply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
            identity: Name and time of the response.
        """
        return CompletionReply(f"cmpl-{identity.name}", identity.created, parsed, summary)

    def error(self, error: ApiError) -> Json:
        """Return the body of an error response."""
        return error.body


def _prompt(prompt: Any) -> str:
    match prompt:
        case str(text) | [str(text)] if text:
            return text
        case "" | [] | [""]:
            raise bad_request("prompt must not be empty", "prompt")
        case [str(), *_]:
            raise bad_request(
                "only one prompt is supported: send a request for each", "prompt",
                "unsupported_parameter",
            )  # fmt: skip
        case list():
            raise bad_request(
                "prompts of token ids are not supported: send text", "prompt",
                "unsupported_parameter",
            )  # fmt: skip
    raise bad_request("prompt must be a string, or a list of one string", "prompt")


@dataclass(slots=True)
class CompletionReply:
    """Builder of the reply to one request.

    The answer becomes `text`, committed steps before it become `reasoning`.

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

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the body of a response that is not streamed."""
        shown = self.parsed.stopped(result)
        choice = self._choice(shown.answer, reasoning_of(result), FINISH[shown.finish])
        return {
            **self._body([choice]),
            "usage": usage(result, prompt),
            "dreamr": self.summary.of(result),
        }

    def opening(self) -> Iterator[ServerEvent]:
        """Yield nothing: the first chunk has text."""
        yield from ()

    def events(self, event: Event) -> Iterator[ServerEvent]:
        """Yield the chunks for an event of the run."""
        for delta in self._deltas.of(event):
            match delta:
                case ReasoningDelta(text=text):
                    choice = self._choice("", text)
                case AnswerDelta(text=text):
                    choice = self._choice(text)
                case _:
                    continue  # there are no tools
            step = {} if delta.step is None else {"dreamr": {"step": described(delta.step)}}
            yield ServerEvent({**self._body([choice]), **step})
        if isinstance(event, RunFinished):
            finish = FINISH[self.parsed.stopped(event.result).finish]
            body = self._body([self._choice("", finish=finish)])
            yield ServerEvent({**body, "dreamr": self.summary.of(event.result)})

    def closing(self, result: Result, prompt: int) -> Iterator[ServerEvent]:
        """Yield the chunk with the token usage, if requested."""
        if self.parsed.include_usage:
            yield ServerEvent({**self._body([]), "usage": usage(result, prompt)})

    def failure(self, error: ApiError) -> Iterator[ServerEvent]:
        """Yield the error that ends a stream."""
        yield ServerEvent(error.body)

    def _body(self, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.parsed.model,
            "system_fingerprint": None,
            "choices": choices,
        }

    def _choice(self, text: str, reasoning: str = "", finish: str | None = None) -> Json:
        thought = {"reasoning": reasoning} if reasoning else {}
        return {"index": 0, "text": text, **thought, "logprobs": None, "finish_reason": finish}
