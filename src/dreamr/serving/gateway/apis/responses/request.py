"""Parsing of the body of a request for a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from dreamr.answers import AnswerForm, AnswerFormat, JsonObject, JsonSchema, ToolChoice
from dreamr.serving.gateway.apis.effort import budget_of_effort
from dreamr.serving.gateway.apis.fields import (
    JsonModel,
    Sampled,
    read_stops,
    refuse_fields,
    some_names,
    validated,
)
from dreamr.serving.gateway.apis.parsed import ParsedMessage, ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.apis.responses.items import add_items
from dreamr.serving.gateway.apis.responses.store import StoredResponse
from dreamr.serving.gateway.apis.responses.tools import MAX_TOOLS, ClientTool, SentTool, Toolbox
from dreamr.serving.gateway.apis.turn_builder import TurnBuilder, join_turns
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.options import ServeOptions

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "conversation": (),
    "prompt": (),
    "moderation": (),
    "modalities": (["text"], []),
}
_LABELS = {
    "user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "include",
    "prompt_cache_retention", "prompt_cache_options", "truncation", "max_tool_calls",
    "context_management", "client_metadata", "request_id", "stream_options", "image",
}  # fmt: skip


class _ReasoningConfig(JsonModel):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Format(JsonModel):
    type: str
    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class _TextConfig(JsonModel):
    format: _Format | None = None
    verbosity: str | None = None


class _Body(Sampled):
    model: str
    input: Any
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning: _ReasoningConfig | None = None
    text: _TextConfig | None = None
    tools: Annotated[list[SentTool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ResponseNeeds:
    """What the reply needs to know of a request.

    Attributes:
        client: Name of the client.
        echoed: Fields of the request that the response repeats.
        summary: Whether the reasoning is sent as a summary.
        store: Whether the response is kept.
        history: The turns that a further request continues, without instructions.
        toolbox: The tools as the client names them.
        background: The body, if the run is to go on without its client; else empty.
    """

    client: str
    echoed: Mapping[str, Any]
    summary: bool
    store: bool
    history: tuple[ParsedMessage, ...]
    toolbox: Toolbox
    background: bytes = b""


class _Previous(BaseModel):
    previous_response_id: str | None = None


def previous_response(body: bytes | bytearray) -> str | None:
    """Return the id of the response that a request continues, None if there is none.

    Args:
        body: JSON text.
    """
    if b"previous_response_id" not in body:
        return None
    try:
        return _Previous.model_validate_json(body).previous_response_id
    except ValidationError:
        return None  # refused with all other fields


def read_request(body: bytes | bytearray, sender: Sender) -> ParsedRequest:
    """Parse and check the body of a request for a response.

    Args:
        body: JSON text.
        sender: What is known about the request, with the response that it continues.

    Raises:
        ApiError: If the body is invalid, too large, or asks for something unsupported.
    """
    payload = validated(_Body, body)
    options, limits = sender.options_of(payload.model), sender.limits
    extra = payload.model_extra or {}
    refuse_fields(extra, _REFUSED)
    toolbox = Toolbox.of(payload.tools or ())
    earlier: StoredResponse | None = sender.earlier
    system, history, skipped = _turns(payload, limits, earlier)
    ignored = {*toolbox.ignored, *skipped, *(extra.keys() - _REFUSED.keys() - _LABELS)}
    keep = payload.store is not False
    if payload.background and not keep:
        raise bad_request("background needs store: leave out store, or set it to true", "store")
    reasoning = payload.reasoning or _ReasoningConfig()
    return ParsedRequest(
        model=payload.model,
        turns=join_turns((*system, *history)),
        options=payload.options(
            options,
            max_tokens=payload.max_output_tokens,
            effort=budget_of_effort(reasoning.effort, "reasoning.effort"),
        ),
        stop=read_stops(payload.stop),
        stream=bool(payload.stream),
        include_usage=True,
        events=False,
        deadline=payload.deadline(limits.deadline),
        ignored=some_names(ignored),
        ignored_count=len(ignored),
        tools=toolbox.tools,
        form=_form(payload, extra.get("include")),
        recalled=0 if earlier is None else earlier.size,
        more=ResponseNeeds(
            sender.client,
            _echoed(payload),
            summary=bool(reasoning.summary or reasoning.generate_summary),
            store=keep,
            history=history if keep else (),
            toolbox=toolbox,
            background=bytes(body) if payload.background else b"",
        ),
    )


def _turns(
    payload: _Body, limits: ServeOptions, previous: StoredResponse | None
) -> tuple[tuple[ParsedMessage, ...], tuple[ParsedMessage, ...], list[str]]:
    """Return the instructions, the turns after them, and the names of items that are left out."""
    counter = TurnCounter(limits, "input")
    instructions = [payload.instructions] if payload.instructions else []
    system = tuple(ParsedMessage("system", counter.count([text])) for text in instructions)
    earlier = () if previous is None else previous.history
    for turn in earlier:
        counter.count([*turn.parts, turn.reasoning, *(call.arguments for call in turn.calls)])
    turns = TurnBuilder(counter)
    skipped = add_items(turns, payload.input, counter)
    return system, join_turns((*earlier, *turns.build())), skipped


def _form(payload: _Body, include: Any) -> AnswerForm:
    choice, name = _choice(payload.tool_choice)
    logprobs = isinstance(include, list) and "message.output_text.logprobs" in include
    return AnswerForm(
        tool_choice=choice,
        tool=name,
        parallel_calls=payload.parallel_tool_calls is not False,
        format=None if payload.text is None else _format(payload.text.format),
        top_logprobs=payload.top_logprobs or (0 if logprobs else None),
    )


def _choice(given: Any) -> tuple[ToolChoice, str | None]:
    match given:
        case None | "auto":
            return "auto", None
        case "none":
            return "none", None
        case "required":
            return "required", None
        case {"type": "function" | "custom", "name": str(name)}:
            namespace = given.get("namespace")
            return "required", ClientTool(name, namespace and str(namespace)).function
    raise bad_request(
        f"tool_choice = {shortened(given)} is not supported: use auto, none, required or a "
        "function",
        "tool_choice",
        "unsupported_parameter",
    )


def _format(given: _Format | None) -> AnswerFormat | None:
    match given:
        case None | _Format(type="text"):
            return None
        case _Format(type="json_object"):
            return JsonObject()
        case _Format(type="json_schema", schema_=dict(schema)):
            text = json.dumps(schema, ensure_ascii=False)
            return JsonSchema(text, given.name, given.strict is not False)
    raise bad_request(
        "text.format must be of type text, json_object, or json_schema with a schema",
        "text.format",
    )


def _echoed(payload: _Body) -> dict[str, Any]:
    """Return the fields of a request that its response repeats."""
    sent = payload.model_dump(by_alias=True, exclude_unset=True)
    reasoning = {"effort": None, "summary": None, **(sent.get("reasoning") or {})}
    extra = payload.model_extra or {}
    return {
        "background": bool(payload.background),
        "instructions": payload.instructions,
        "max_output_tokens": payload.max_output_tokens,
        "metadata": payload.metadata or {},
        "parallel_tool_calls": payload.parallel_tool_calls is not False,
        "previous_response_id": payload.previous_response_id,
        "reasoning": reasoning,
        "store": payload.store is not False,
        "temperature": payload.temperature,
        "text": sent.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto" if payload.tool_choice is None else payload.tool_choice,
        "tools": sent.get("tools") or [],
        "top_logprobs": payload.top_logprobs or 0,
        "top_p": payload.top_p,
        "truncation": "disabled",
        "user": extra.get("user") if isinstance(extra.get("user"), str) else None,
    }
