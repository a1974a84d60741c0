"""Messages of a chat completion request as turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from dreamr.conversation import ToolCall, TurnRole
from dreamr.serving.gateway.apis.fields import JsonModel
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.content_parts import read_parts
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.options import ServeOptions

_MAX_CALLS = 128  # of one message
_ROLES: Mapping[str, TurnRole] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant",
    "tool": "tool",
}  # fmt: skip


class _CalledFunction(JsonModel):
    name: str
    arguments: str = "{}"


class _Call(JsonModel):
    id: str
    function: _CalledFunction


class Message(JsonModel):
    """A message of a request."""

    role: str
    content: Any = None
    tool_calls: Annotated[list[_Call], Field(max_length=_MAX_CALLS, fail_fast=True)] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


def read_turns(messages: Sequence[Message], limits: ServeOptions) -> Iterator[ParsedMessage]:
    """Yield the messages that say or call something, in order.

    Args:
        messages: Messages of a request.
        limits: Limits of the gateway.

    Raises:
        ApiError: If a message is invalid, or the request has too many of anything (400).
    """
    counter = TurnCounter(limits)
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        role = _ROLES.get(message.role)
        if role is None:
            known = ", ".join(_ROLES)
            raise bad_request(
                f"role {shortened(message.role)} is not supported: use {known}",
                f"{where}.role",
            )
        if role == "tool" and message.tool_call_id is None:
            raise bad_request("a message of role tool needs a tool_call_id", where)
        parts = counter.count(read_parts(message.content, where, counter.left))
        calls, thought = _calls(message, counter), ""
        if role == "assistant":
            thought = message.reasoning_content or message.reasoning or ""
            counter.count([thought] if thought else ())
        if parts or calls or role == "tool":
            call_id = message.tool_call_id if role == "tool" else None
            yield ParsedMessage(role, parts, calls, call_id, thought)
        elif role == "user":
            raise bad_request("a user message must not be empty", where)


def _calls(message: Message, counter: TurnCounter) -> tuple[ToolCall, ...]:
    found = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
    )
    if found:
        counter.count(call.arguments for call in found)
    return found
