"""Parsing of the body of a request for a message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from dreamr.answers import PLAIN, AnswerForm, JsonSchema, ToolChoice
from dreamr.conversation import Tool, ToolCall
from dreamr.serving.gateway.apis.effort import NO_THINKING, budget_of_effort
from dreamr.serving.gateway.apis.fields import (
    JsonModel,
    Sampled,
    read_stops,
    refuse_fields,
    some_names,
    validated,
)
from dreamr.serving.gateway.apis.messages.content import Thought, ToolResult, read_content
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.apis.turn_builder import TurnBuilder
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError, bad_request, shortened
from dreamr.serving.options import ServeOptions

_ROLES = ("user", "assistant", "system")
_MAX_TOOLS = 512
_CHOICES: Mapping[str, ToolChoice] = {
    "auto": "auto", "any": "required", "tool": "required", "none": "none"
}  # fmt: skip
# What only Anthropic's own servers can do, and the values that ask for nothing.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "mcp_servers": ([],),
    "container": (),
    "functions": ([],),
}
_LABELS = {
    "metadata", "service_tier", "cache_control", "betas", "inference_geo", "speed",
    "context_management", "diagnostics", "user_profile_id", "workspace_id", "request_id",
}  # fmt: skip


class _Message(JsonModel):
    role: str
    content: Any


class _ThinkingConfig(JsonModel):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: str | None = None


class _Tool(JsonModel):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class _ToolChoice(JsonModel):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Format(JsonModel):
    type: str
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class _OutputConfig(JsonModel):
    effort: str | None = None
    format: _Format | None = None


class _Counted(Sampled):
    """A request for the number of its tokens."""

    model: str
    messages: Annotated[list[_Message], Field(min_length=1, fail_fast=True)]
    system: Any = None
    tools: Annotated[list[_Tool], Field(max_length=_MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None


class _Body(_Counted):
    max_tokens: Annotated[int, Field(ge=1)]
    stream: bool | None = None
    stop_sequences: Annotated[list[str], Field(fail_fast=True)] | None = None


@dataclass(frozen=True, slots=True)
class MessageNeeds:
    """What the reply needs to know of a request.

    Attributes:
        thinking: Whether thinking blocks are sent.
        thoughts: Whether their text is sent too.
    """

    thinking: bool
    thoughts: bool = True


def read_request(body: bytes | bytearray, sender: Sender) -> ParsedRequest:
    """Parse and check the body of a request for a message.

    Args:
        body: JSON text.
        sender: What is known about the request.

    Raises:
        ApiError: If the body is invalid, too large, or asks for something unsupported.
    """
    payload = validated(_Body, body)
    thinking = payload.thinking
    budget = None if thinking is None or thinking.type != "enabled" else thinking.budget_tokens
    output = payload.output_config
    effort = budget_of_effort(None if output is None else output.effort, "output_config.effort")
    if thinking is not None and thinking.type == "disabled":
        effort = NO_THINKING
    if budget is not None and budget >= payload.max_tokens:
        raise bad_request(
            "thinking.budget_tokens must be smaller than max_tokens", "thinking.budget_tokens"
        )
    return _parsed(
        payload,
        sender,
        {
            "max_tokens": payload.max_tokens,
            "effort": effort if budget is None else budget,
        },
        stop=read_stops(payload.stop_sequences, "stop_sequences"),
        stream=bool(payload.stream),
    )


def read_counted(body: bytes | bytearray, sender: Sender) -> ParsedRequest:
    """Parse and check the body of a request for the number of its tokens.

    Args:
        body: JSON text.
        sender: What is known about the request.

    Raises:
        ApiError: If the body is invalid, too large, or asks for something unsupported.
    """
    return _parsed(validated(_Counted, body), sender, {})


def _parsed(
    payload: _Counted,
    sender: Sender,
    given: Mapping[str, Any],
    stop: tuple[str, ...] = (),
    stream: bool = False,
) -> ParsedRequest:
    options, limits = sender.options_of(payload.model), sender.limits
    extra = payload.model_extra or {}
    refuse_fields(extra, _REFUSED)
    tools, others = _tools(payload.tools or ())
    ignored = {*others, *(extra.keys() - _REFUSED.keys() - _LABELS)}
    thinking = payload.thinking
    return ParsedRequest(
        model=payload.model,
        turns=_turns(payload, limits),
        options=payload.options(options, **given),
        stop=stop,
        stream=stream,
        include_usage=True,
        events=False,
        deadline=payload.deadline(limits.deadline),
        ignored=some_names(ignored),
        ignored_count=len(ignored),
        tools=tools,
        form=_form(payload),
        more=MessageNeeds(
            thinking=thinking is not None and thinking.type != "disabled",
            thoughts=thinking is None or thinking.display != "omitted",
        ),
    )


def _turns(payload: _Counted, limits: ServeOptions) -> tuple[ParsedMessage, ...]:
    counter = TurnCounter(limits)
    turns = TurnBuilder(counter)
    system = list(read_content(payload.system, "system", limits.max_parts))
    if not all(isinstance(part, str) for part in system):
        raise bad_request("system may hold text only", "system")
    turns.add("system", [part for part in system if isinstance(part, str)])
    for number, message in enumerate(payload.messages):
        _add(turns, message, f"messages.{number}", counter.left)
    return turns.build()


def _add(turns: TurnBuilder, message: _Message, where: str, most: int) -> None:
    role = message.role
    if role not in _ROLES:
        raise bad_request(
            f"role {shortened(role)} is not supported: use {', '.join(_ROLES)}", f"{where}.role"
        )
    said: list[str | SentMedia] = []
    content = list(read_content(message.content, f"{where}.content", most))
    if not content and role == "user":
        raise bad_request("a user message must not be empty", where)
    for part in content:
        match part:
            case Thought(text=text) if role == "assistant":
                turns.think(text)
            case ToolCall() if role == "assistant":
                turns.add("assistant", said)
                said = []
                turns.call(part)
            case ToolResult(call_id=call, parts=parts) if role == "user":
                turns.add("tool", parts, call)
            case str() | SentMedia():
                said.append(part)
            case _:
                what = {Thought: "thinking", ToolCall: "tool_use"}.get(type(part), "tool_result")
                raise bad_request(f"block {what} does not belong to role {role}", where)
    if said:
        turns.add("user" if role == "user" else "assistant" if role == "assistant" else "system",
                  said)  # fmt: skip


def _tools(tools: Sequence[_Tool]) -> tuple[tuple[Tool, ...], list[str]]:
    """Return the tools that the client runs, and the names of the others, which are left out."""
    found, others = [], []
    for number, tool in enumerate(tools):
        if tool.type not in (None, "custom") or tool.input_schema is None:
            others.append(f"tools.{number} ({tool.type or tool.name})")
            continue
        schema = json.dumps(tool.input_schema, ensure_ascii=False)
        found.append(Tool(tool.name, tool.description or "", schema, bool(tool.strict)))
    return tuple(found), others


def _form(payload: _Counted) -> AnswerForm:
    choice, output = payload.tool_choice, payload.output_config
    wanted = payload.output_format or (None if output is None else output.format)
    form = PLAIN if wanted is None else AnswerForm(format=_schema(wanted))
    if choice is None:
        return form
    if (choice.type == "tool") != (choice.name is not None):
        raise _bad_choice()
    return AnswerForm(
        tool_choice=_CHOICES[choice.type],
        tool=choice.name,
        parallel_calls=not choice.disable_parallel_tool_use,
        format=form.format,
    )


def _bad_choice() -> ApiError:
    return bad_request("tool_choice needs a name exactly if its type is tool", "tool_choice.name")


def _schema(wanted: _Format) -> JsonSchema:
    if wanted.type != "json_schema" or wanted.schema_ is None:
        raise bad_request(
            f"output format {shortened(wanted.type)} is not supported: use json_schema",
            "output_config.format",
            "unsupported_parameter",
        )
    return JsonSchema(json.dumps(wanted.schema_, ensure_ascii=False))
