"""Conversion of a run's events to messages of Anthropic's API, without I/O."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from dreamr.answers import CallDelta
from dreamr.conversation.tools import strict_json
from dreamr.serving.gateway.apis.deltas import AnswerDelta, Deltas, ReasoningDelta, reasoning_of
from dreamr.serving.gateway.apis.messages.errors import error_body
from dreamr.serving.gateway.apis.messages.request import MessageNeeds
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Json, ServerEvent
from dreamr.serving.gateway.apis.summary import Summary, TokenCounts
from dreamr.serving.gateway.errors import ApiError
from dreamr.trace import Event, Result


@dataclass(slots=True)
class MessageReply:
    """Builder of the reply to one request.

    Committed steps become a thinking block, if the client asked for it, the answer a text block.

    Attributes:
        id: Id of the message.
        parsed: The request.
        summary: Describes the run.
    """

    id: str
    parsed: ParsedRequest
    summary: Summary
    _deltas: Deltas = field(init=False)
    _index: int = field(default=-1, init=False)
    _block: Any = field(default=None, init=False)  # what the open block holds
    _thought: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._deltas = Deltas(self.parsed)

    @property
    def counts_prompt(self) -> bool:
        """Whether the end of a stream shows the number of tokens of the prompt: always."""
        return True

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the body of a response that is not streamed."""
        content: list[Json] = []
        reasoning = reasoning_of(result)
        if self._needs.thinking and reasoning:
            thought = reasoning if self._needs.thoughts else ""
            signature = signature_of(reasoning)
            content.append({"type": "thinking", "thinking": thought, "signature": signature})
        shown = self.parsed.stopped(result)
        if shown.answer or not shown.calls:
            content.append({"type": "text", "text": shown.answer, "citations": None})
        for call in shown.calls:
            content.append(
                {
                    "type": "tool_use",
                    "id": call.id,
                    "name": call.name,
                    "input": _input(call.arguments),
                }
            )
        return {
            **self._message(content, prompt, TokenCounts.of(result)),
            **self._stopped(result),
            "dreamr": self.summary.of(result),
        }

    def opening(self) -> Iterator[ServerEvent]:
        """Yield the empty message."""
        yield _event("message_start", message=self._message([], 0, TokenCounts(0, 0)))
        yield _event("ping")

    def events(self, event: Event) -> Iterator[ServerEvent]:
        """Yield what an event of the run adds."""
        for delta in self._deltas.of(event):
            match delta:
                case ReasoningDelta(text=text) if self._needs.thinking:
                    yield from self._think(text)
                case ReasoningDelta():
                    yield _event("ping")
                case AnswerDelta(text=text) if text:
                    yield from self._open("text", {"type": "text", "text": "", "citations": None})
                    yield self._delta("text_delta", text=text)
                case CallDelta():
                    yield from self._call(delta)

    def closing(self, result: Result, prompt: int) -> Iterator[ServerEvent]:
        """Yield the reason why the message ends, and its usage."""
        if self._block in (None, "thinking"):
            yield from self._open("text", {"type": "text", "text": "", "citations": None})
        yield from self._close()
        yield _event(
            "message_delta",
            delta={**self._stopped(result), "container": None},
            usage=_usage(prompt, TokenCounts.of(result)),
            dreamr=self.summary.of(result),
        )
        yield _event("message_stop")

    def failure(self, error: ApiError) -> Iterator[ServerEvent]:
        """Yield the error that ends a stream."""
        yield ServerEvent(error_body(error), "error")

    @property
    def _needs(self) -> MessageNeeds:
        needs: MessageNeeds = self.parsed.more
        return needs

    def _think(self, text: str) -> Iterator[ServerEvent]:
        if not text:
            return
        yield from self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._thought.append(text)
        if self._needs.thoughts:
            yield self._delta("thinking_delta", thinking=text)
        else:
            yield _event("ping")

    def _call(self, delta: CallDelta) -> Iterator[ServerEvent]:
        start = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
        yield from self._open(delta.index, start)
        if delta.arguments:
            yield self._delta("input_json_delta", partial_json=delta.arguments)

    def _open(self, block: Any, start: Json) -> Iterator[ServerEvent]:
        """Begin a block, unless it is the open one."""
        if self._block == block and block is not None:
            return
        yield from self._close()
        self._index, self._block = self._index + 1, block
        yield _event("content_block_start", index=self._index, content_block=start)

    def _close(self) -> Iterator[ServerEvent]:
        if self._block is None:
            return
        if self._block == "thinking":
            yield self._delta("signature_delta", signature=signature_of("".join(self._thought)))
            self._thought = []
        yield _event("content_block_stop", index=self._index)
        self._block = None

    def _delta(self, kind: str, **values: str) -> ServerEvent:
        return _event("content_block_delta", index=self._index, delta={"type": kind, **values})

    def _message(self, content: list[Json], prompt: int, counts: TokenCounts) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.parsed.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "usage": _usage(prompt, counts),
        }

    def _stopped(self, result: Result) -> Json:
        """Return why the message ended."""
        # What is cut may be a call: clients must not run a tool with half of its arguments.
        called = "tool_use" if result.calls else "end_turn"
        reason, sequence = called if result.complete else "max_tokens", None
        if (found := self.parsed.stop_in(result.answer)) is not None:
            reason, sequence = "stop_sequence", found[1]
        return {"stop_reason": reason, "stop_sequence": sequence, "stop_details": None}


def signature_of(thought: str) -> str:
    """Return the signature of a thinking block: a digest, which marks it as unchanged."""
    return b64encode(sha256(thought.encode("utf-8", "replace")).digest()).decode()


def _event(kind: str, **values: Any) -> ServerEvent:
    return ServerEvent({"type": kind, **values}, kind)


def _usage(prompt: int, counts: TokenCounts) -> Json:
    return {
        "input_tokens": prompt,
        "output_tokens": counts.completion,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _input(arguments: str) -> Json:
    """Return the arguments of a call; a model can write what is not an object, or not JSON."""
    found = strict_json(arguments or "{}")
    if isinstance(found, dict):
        return found
    return {"arguments": arguments if found is None else found}
