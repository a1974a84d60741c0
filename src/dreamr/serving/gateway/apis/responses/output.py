"""Output items of a response, and the events of their streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from dreamr.answers import TokenLogprob
from dreamr.serving.gateway.apis.logprobs import logprobs_json
from dreamr.serving.gateway.apis.responses.tools import ClientTool, custom_input

Json: TypeAlias = dict[str, Any]
ItemEvents: TypeAlias = Iterator[tuple[str, Json]]


@dataclass(slots=True)
class ReasoningItem:
    """The reasoning before an answer.

    Attributes:
        summary: Whether it is sent as a summary.
        text: What was reasoned so far.
        id: Id of the item, once it is part of a response.
        prefix: Beginning of its id.
    """

    summary: bool
    text: str = ""
    id: str = ""
    prefix: ClassVar[str] = "rs"

    @property
    def key(self) -> str:
        """What tells this item from others in its response."""
        return "reasoning"

    def to_json(self, status: str) -> Json:
        """Return the item."""
        part = [self._part(self.text)] if self.text else []
        about: Json = {"id": self.id, "type": "reasoning", "encrypted_content": None}
        if self.summary:
            return {**about, "summary": part, "status": status}
        return {**about, "summary": [], "content": part, "status": status}

    def beginning(self) -> ItemEvents:
        """Yield the events that open the item."""
        empty = {"id": self.id, "type": "reasoning", "summary": [], "status": "in_progress"}
        yield "response.output_item.added", {"item": empty}
        yield self._kind("part.added"), {**self._place, "part": self._part("")}

    def delta(self, text: str, _: Sequence[TokenLogprob] = ()) -> ItemEvents:
        """Yield the events of a piece of text."""
        yield self._kind("delta"), {**self._place, "delta": text}

    def end(self, status: str) -> ItemEvents:
        """Yield the events that close the item with a status."""
        yield self._kind("done"), {**self._place, "text": self.text}
        yield self._kind("part.done"), {**self._place, "part": self._part(self.text)}
        yield "response.output_item.done", {"item": self.to_json(status)}

    @property
    def _place(self) -> Json:
        return {"item_id": self.id, "summary_index" if self.summary else "content_index": 0}

    def _part(self, text: str) -> Json:
        return {"type": "summary_text" if self.summary else "reasoning_text", "text": text}

    def _kind(self, what: str) -> str:
        if what.startswith("part."):
            part = "reasoning_summary_part" if self.summary else "content_part"
            return f"response.{part}.{what.removeprefix('part.')}"
        text = "reasoning_summary_text" if self.summary else "reasoning_text"
        return f"response.{text}.{what}"


@dataclass(slots=True)
class MessageItem:
    """The answer.

    Attributes:
        text: What was said so far.
        logprobs: Log-probabilities of its tokens so far, if they were requested.
        id: Id of the item, once it is part of a response.
        prefix: Beginning of its id.
    """

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    id: str = ""
    prefix: ClassVar[str] = "msg"

    @property
    def key(self) -> str:
        """What tells this item from others in its response."""
        return "message"

    def to_json(self, status: str) -> Json:
        """Return the item."""
        content = [] if status == "in_progress" else [self._part()]
        about = {"id": self.id, "type": "message", "role": "assistant", "status": status}
        return {**about, "content": content}

    def beginning(self) -> ItemEvents:
        """Yield the events that open the item."""
        yield "response.output_item.added", {"item": self.to_json("in_progress")}
        yield "response.content_part.added", {**self._place, "part": MessageItem()._part()}

    def delta(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> ItemEvents:
        """Yield the events of a piece of text."""
        piece = {"delta": text, "logprobs": _of_event(logprobs)}
        yield "response.output_text.delta", {**self._place, **piece}

    def end(self, status: str) -> ItemEvents:
        """Yield the events that close the item with a status."""
        whole = {"text": self.text, "logprobs": _of_event(self.logprobs)}
        yield "response.output_text.done", {**self._place, **whole}
        yield "response.content_part.done", {**self._place, "part": self._part()}
        yield "response.output_item.done", {"item": self.to_json(status)}

    @property
    def _place(self) -> Json:
        return {"item_id": self.id, "content_index": 0}

    def _part(self) -> Json:
        values = {"text": self.text, "logprobs": logprobs_json(self.logprobs)}
        return {"type": "output_text", "annotations": [], **values}


@dataclass(slots=True)
class CallItem:
    """A call of a function.

    Attributes:
        call_id: Id of the call.
        tool: The function as the client names it.
        index: Number of the call in the answer.
        text: Its arguments so far.
        id: Id of the item, once it is part of a response.
        prefix: Beginning of its id.
    """

    call_id: str
    tool: ClientTool
    index: int = 0
    text: str = ""
    id: str = ""
    prefix: ClassVar[str] = "fc"

    @property
    def key(self) -> str:
        """What tells this item from others in its response."""
        return f"call {self.index}"

    def to_json(self, status: str) -> Json:
        """Return the item."""
        return {**self._head("function_call", status), "arguments": self.text}

    def beginning(self) -> ItemEvents:
        """Yield the events that open the item."""
        yield "response.output_item.added", {"item": self.to_json("in_progress")}

    def delta(self, text: str, _: Sequence[TokenLogprob] = ()) -> ItemEvents:
        """Yield the events of a piece of the arguments."""
        yield "response.function_call_arguments.delta", {"item_id": self.id, "delta": text}

    def end(self, status: str) -> ItemEvents:
        """Yield the events that close the item with a status."""
        done = {"item_id": self.id, "name": self.tool.name, "arguments": self.text}
        yield "response.function_call_arguments.done", done
        yield "response.output_item.done", {"item": self.to_json(status)}

    def _head(self, kind: str, status: str) -> Json:
        about = {"id": self.id, "type": kind, "call_id": self.call_id, "name": self.tool.name}
        namespace = {"namespace": self.tool.namespace} if self.tool.namespace else {}
        return {**about, **namespace, "status": status}


class CustomCallItem(CallItem):
    """A call of a custom tool. Its input is known once its arguments are complete."""

    __slots__ = ()

    def to_json(self, status: str) -> Json:
        """Return the item."""
        given = custom_input(self.text) if self.text else ""
        return {**self._head("custom_tool_call", status), "input": given}

    def delta(self, text: str, _: Sequence[TokenLogprob] = ()) -> ItemEvents:
        """Yield nothing: a piece of the arguments is none of the input."""
        yield from ()

    def end(self, status: str) -> ItemEvents:
        """Yield the events of the input, and those that close the item with a status."""
        given = custom_input(self.text)
        kind = "response.custom_tool_call_input"
        yield f"{kind}.delta", {"item_id": self.id, "delta": given}
        yield f"{kind}.done", {"item_id": self.id, "input": given}
        yield "response.output_item.done", {"item": self.to_json(status)}


def call_item(call_id: str, tool: ClientTool, index: int = 0, text: str = "") -> CallItem:
    """Return the item of a call, of the kind of its tool."""
    return (CustomCallItem if tool.custom else CallItem)(call_id, tool, index, text)


def _of_event(tokens: Sequence[TokenLogprob]) -> list[Json]:
    """Return log-probabilities as events have them: without bytes."""
    return [
        {**_shorter(one), "top_logprobs": list(map(_shorter, one["top_logprobs"]))}
        for one in logprobs_json(tokens)
    ]


def _shorter(one: Json) -> Json:
    return {"token": one["token"], "logprob": one["logprob"]}


Item: TypeAlias = ReasoningItem | MessageItem | CallItem
