"""Conversion of a run's events to a response of OpenAI's API and its stream, without I/O."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dreamr.answers import CallDelta, TokenLogprob
from dreamr.conversation import ToolCall
from dreamr.serving.gateway.apis.deltas import AnswerDelta, Deltas, ReasoningDelta, reasoning_of
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Json, ServerEvent
from dreamr.serving.gateway.apis.responses.output import (
    CallItem,
    Item,
    MessageItem,
    ReasoningItem,
    call_item,
)
from dreamr.serving.gateway.apis.responses.request import ResponseNeeds
from dreamr.serving.gateway.apis.summary import Summary, TokenCounts
from dreamr.serving.gateway.errors import ApiError
from dreamr.trace import Event, Result


@dataclass(slots=True)
class ResponseReply:
    """Builder of the reply to one request.

    Committed steps become an item of type reasoning, the answer a message, calls items of their
    own.

    Attributes:
        id: Id of the response.
        created: Time of the request, in seconds since 1970.
        parsed: The request.
        summary: Describes the run.
        kept: The response and its conversation, once the run has ended and if it is to be kept.
    """

    id: str
    created: int
    parsed: ParsedRequest
    summary: Summary
    kept: tuple[Json, tuple[ParsedMessage, ...]] | None = field(default=None, init=False)
    _deltas: Deltas = field(init=False)
    _items: list[Item] = field(default_factory=list, init=False)
    _open: Item | None = field(default=None, init=False)
    _number: int = field(default=-1, init=False)  # of the last event

    def __post_init__(self) -> None:
        self._deltas = Deltas(self.parsed)

    @property
    def counts_prompt(self) -> bool:
        """Whether the end of a stream shows the number of tokens of the prompt: always."""
        return True

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the body of a response that is not streamed."""
        if reasoning := reasoning_of(result):
            self._add(ReasoningItem(self._needs.summary)).text = reasoning
        shown = self.parsed.stopped(result)
        if shown.answer or not shown.calls:
            self._add(MessageItem(shown.answer, list(shown.answer_logprobs)))
        for call in shown.calls:
            tool = self._needs.toolbox.client_tool(call.name)
            self._add(call_item(call.id, tool, text=call.arguments))
        return self._finished(result, prompt)

    def opening(self) -> Iterator[ServerEvent]:
        """Yield the empty response."""
        yield self._event("response.created", response=self._body("in_progress"))
        yield self._event("response.in_progress", response=self._body("in_progress"))

    def events(self, event: Event) -> Iterator[ServerEvent]:
        """Yield what an event of the run adds."""
        for delta in self._deltas.of(event):
            match delta:
                case ReasoningDelta(text=text) if text:
                    yield from self._extend(ReasoningItem(self._needs.summary), text)
                case AnswerDelta(text=text, logprobs=logprobs) if text or logprobs:
                    yield from self._extend(MessageItem(), text, logprobs)
                case CallDelta(index=index, id=call, name=name, arguments=text):
                    tool = self._needs.toolbox.client_tool(name)
                    yield from self._extend(call_item(call, tool, index), text)

    def closing(self, result: Result, prompt: int) -> Iterator[ServerEvent]:
        """Yield the end of the last item and the whole response."""
        if not any(isinstance(item, MessageItem | CallItem) for item in self._items):
            yield from self._begin(MessageItem())
        body = self._finished(result, prompt)
        yield from self._close(body["status"])
        yield self._event(f"response.{body['status']}", response=body)

    def failure(self, error: ApiError) -> Iterator[ServerEvent]:
        """Yield the error that ends a stream."""
        found = {"code": error.code or "server_error", "message": error.message}
        last = "completed" if self._open is None else "incomplete"
        body = {**self._body("failed", last), "error": found, **error.more}
        yield self._event("response.failed", response=body)

    @property
    def _needs(self) -> ResponseNeeds:
        needs: ResponseNeeds = self.parsed.more
        return needs

    def _add(self, item: Item) -> Item:
        # The same for each replica that writes the response.
        item.id = f"{item.prefix}_{self.id.removeprefix('resp_')}{len(self._items):02}"
        self._items.append(item)
        return item

    def _extend(
        self, item: Item, text: str, logprobs: Sequence[TokenLogprob] = ()
    ) -> Iterator[ServerEvent]:
        """Add text to an item, which begins unless it is the open one."""
        if self._open is None or self._open.key != item.key:
            yield from self._begin(item)
        assert self._open is not None
        if isinstance(self._open, MessageItem):
            self._open.logprobs += logprobs
        if text or logprobs:
            self._open.text += text
            yield from self._events(self._open.delta(text, logprobs))

    def _begin(self, item: Item) -> Iterator[ServerEvent]:
        yield from self._close()
        self._open = self._add(item)
        yield from self._events(item.beginning())

    def _close(self, status: str = "completed") -> Iterator[ServerEvent]:
        if self._open is not None:
            yield from self._events(self._open.end(status))
            self._open = None

    def _events(self, events: Iterator[tuple[str, Json]]) -> Iterator[ServerEvent]:
        """Yield the events of the last item."""
        for kind, values in events:
            yield self._event(kind, output_index=len(self._items) - 1, **values)

    def _event(self, kind: str, **values: Any) -> ServerEvent:
        self._number += 1
        return ServerEvent({"type": kind, "sequence_number": self._number, **values}, kind)

    def _finished(self, result: Result, prompt: int) -> Json:
        """Return the response of a run that ended."""
        complete = self.parsed.stopped(result).complete
        status = "completed" if complete else "incomplete"
        counts = TokenCounts.of(result)
        body = {
            **self._body(status, status),
            "incomplete_details": None if complete else {"reason": "max_output_tokens"},
            "completed_at": int(time.time()),
            "usage": {
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": counts.completion,
                "output_tokens_details": {"reasoning_tokens": counts.reasoning},
                "total_tokens": prompt + counts.completion,
            },
            "dreamr": self.summary.of(result),
        }
        if self._needs.store:
            history = (*self._needs.history, self._turn())
            self.kept = body, history
        return body

    def _turn(self) -> ParsedMessage:
        """Return the assistant's turn."""
        said = "".join(item.text for item in self._items if isinstance(item, MessageItem))
        thought = "".join(item.text for item in self._items if isinstance(item, ReasoningItem))
        calls = (
            ToolCall(item.call_id, item.tool.function, item.text)
            for item in self._items
            if isinstance(item, CallItem)
        )
        parts = (said,) if said else ()
        return ParsedMessage("assistant", parts, calls=tuple(calls), reasoning=thought)

    def _body(self, status: str, last: str = "completed") -> Json:
        """Return the response.

        Args:
            status: Its status.
            last: Status of its last item. Those before it are complete.
        """
        items = self._items
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.parsed.model,
            "output": [one.to_json(last if one is items[-1] else "completed") for one in items],
            "usage": None,
            **self._needs.echoed,
        }
