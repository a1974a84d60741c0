"""Parsing of a request body into a frozen value, or one clear error."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dreamr._media_options import READING
from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._sampling import may_sample
from dreamr.serving.gateway.content_parts import MessagePart, SentMedia, read_parts
from dreamr.serving.gateway.errors import (
    bad_request,
    no_such_model,
    shortened,
    shortened_name,
)
from dreamr.serving.gateway.field_errors import invalid_field
from dreamr.serving.options import ServeOptions

_MAX_STOPS = 16  # stop sequences per request
_MAX_BIASES = 1024  # as in vLLM
_MAX_NAMED = 20  # names of fields without effect


class _Json(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Message(_Json):
    role: str
    content: Any = None


class _StreamOptions(_Json):
    include_usage: bool = False


class _Extension(_Json):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    method: str | None = None
    window: int | None = None
    threshold: float | None = None
    fallback: str | None = None
    final_answer: str | None = None
    thinking_budget: int | None = None
    deterministic: bool | None = None
    deadline: Annotated[float, Field(gt=0)] | None = None
    pages: str | None = None
    pdf_text: str | None = None
    frames: int | None = None
    frames_by: str | None = None
    fps: float | None = None
    sound: bool | None = None
    draft_frames: int | None = None
    events: bool = False


class _Body(_Json):
    model: str
    messages: Annotated[list[_Message], Field(min_length=1, fail_fast=True)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=_MAX_BIASES)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    dreamr: _Extension | None = None


# Fields that would change the format of the answer, and the values that leave it as it is.
_FORM: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "modalities": (["text"], []),
    "audio": (),
}
# Fields that ask for an answer in a given form, in the words of several servers.
_OUTPUT_FORMS = (
    "response_format", "structured_outputs", "structural_tag", "guided_json", "guided_json_object",
    "guided_regex", "guided_choice", "guided_grammar", "grammar", "json_schema", "regex", "ebnf",
    "format", "output_format", "response_schema",
)  # fmt: skip
_NESTED = ("extra_body", "nvext")  # objects in which clients send fields of other servers
# Fields that only label a request.
_LABELS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls", "request_id",
}  # fmt: skip
# Options of the server that the object `dreamr` of a request replaces.
_EXTENDED = (
    "method", "window", "threshold", "fallback", "final_answer", "thinking_budget", "deterministic",
    "draft_frames", *READING,
)  # fmt: skip
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A message of a request before its attachments are read."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[MessagePart, ...]


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A valid request.

    Attributes:
        model: Name of the served model.
        turns: Messages with content, in order.
        options: Options of the server with the changes of the request.
        stop: Stop sequences of the answer.
        stream: Whether to stream the answer.
        include_usage: Whether a stream ends with the token usage.
        events: Whether a stream includes all events of the run.
        deadline: Time limit in seconds, waiting included.
        ignored: Fields without effect, reported to the client; the first 20 of them.
        ignored_count: Number of fields without effect.
    """

    model: str
    turns: tuple[ParsedMessage, ...]
    options: RunOptions
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    events: bool
    deadline: float
    ignored: tuple[str, ...]
    ignored_count: int = 0


def read_request(
    body: bytes | bytearray, options: RunOptions, limits: ServeOptions
) -> ParsedRequest:
    """Parse and validate the body of a chat completion request.

    Args:
        body: JSON text.
        options: Options of the server, which the request may change.
        limits: Limits of the gateway.

    Raises:
        ApiError: If the body is invalid, too large, or asks for something unsupported.
    """
    try:
        payload = _Body.model_validate_json(body)
    except ValidationError as error:
        raise invalid_field(error) from error
    if payload.model != limits.served_model_name:
        raise no_such_model(payload.model, limits.served_model_name)
    extra = payload.model_extra or {}
    _check_form(extra)
    turns = tuple(_turns(payload.messages, limits))
    ignored = extra.keys() - _FORM.keys() - _LABELS - set(_OUTPUT_FORMS)
    extension = payload.dreamr or _Extension()
    return ParsedRequest(
        model=payload.model,
        turns=turns,
        options=_options(options, payload, extension),
        stop=_stops(payload.stop),
        stream=bool(payload.stream),
        include_usage=payload.stream_options is not None and payload.stream_options.include_usage,
        events=extension.events,
        deadline=min(limits.deadline, extension.deadline or limits.deadline),
        ignored=tuple(map(shortened_name, nsmallest(_MAX_NAMED, ignored))),
        ignored_count=len(ignored),
    )


def _check_form(extra: Mapping[str, Any], where: str = "") -> None:
    refused = [
        name
        for name, neutral in _FORM.items()
        if (value := extra.get(name)) is not None and value not in neutral
    ]
    refused += [name for name in _OUTPUT_FORMS if not _is_plain(extra.get(name))]
    if refused:
        name = refused[0]
        raise bad_request(
            f"{where}{name} = {shortened(extra[name])} is not supported here: leave it out",
            f"{where}{name}",
            "unsupported_parameter",
        )
    for name in _NESTED:
        if isinstance(inner := extra.get(name), dict):
            _check_form(inner, f"{where}{name}.")


def _is_plain(form: Any) -> bool:
    """Return whether the value of an output form asks for plain text, or for nothing."""
    if isinstance(form, dict):
        return all(
            value is None or (name, value) == ("type", "text") for name, value in form.items()
        )
    return form in (None, "", "text", False, [])


def _turns(messages: Sequence[_Message], limits: ServeOptions) -> Iterator[ParsedMessage]:
    left = limits.max_parts
    attachments, characters = 0, 0
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        role = _ROLES.get(message.role)
        if role is None:
            known = ", ".join(_ROLES)
            raise bad_request(
                f"role {shortened(message.role)} is not supported: use {known}",
                f"{where}.role",
            )
        parts = tuple(read_parts(message.content, where, left))
        left -= max(1, len(parts))
        if left < 0:
            raise bad_request(
                f"the request has more than {limits.max_parts} messages and parts", "messages"
            )
        attachments += sum(isinstance(part, SentMedia) for part in parts)
        if attachments > limits.max_images:
            raise bad_request(
                f"the request has more than {limits.max_images} images and other files", "messages"
            )
        characters += sum(len(part) for part in parts if isinstance(part, str))
        if characters > limits.max_text:
            raise bad_request(
                f"the request has more than {limits.max_text:,} characters of text",
                "messages",
                "context_length_exceeded",
            )
        if parts:
            yield ParsedMessage(role, parts)
        elif role == "user":
            raise bad_request("a user message must not be empty", where)


def _options(options: RunOptions, payload: _Body, extension: _Extension) -> RunOptions:
    """Apply the options of a request to those of the server."""
    tokens = (
        payload.max_tokens
        if payload.max_completion_tokens is None
        else payload.max_completion_tokens
    )
    overrides: dict[str, Any] = {
        **{name: getattr(extension, name) for name in _EXTENDED},
        "max_tokens": tokens,
        "temperature": payload.temperature,
        "top_p": None if payload.top_p is None else max(0.01, payload.top_p),
        "top_k": None if payload.top_k is None else max(0, payload.top_k),
        "min_p": payload.min_p,
        "presence_penalty": payload.presence_penalty,
        "frequency_penalty": payload.frequency_penalty,
        "repetition_penalty": payload.repetition_penalty,
        "logit_bias": payload.logit_bias,
        "seed": None if payload.seed is None else payload.seed % 2**63,
    }
    known = {name: value for name, value in overrides.items() if value is not None}
    if tokens is not None and extension.thinking_budget is None:
        known["thinking_budget"] = _budget_within(options.thinking_budget, tokens)
    try:
        asked = replace(options, **known)
    except BadOption as error:
        raise bad_request(str(error).removeprefix("--"), "dreamr") from error
    if payload.seed is None and may_sample(asked):
        # Without a seed, equal requests get different answers.
        return replace(asked, seed=secrets.randbelow(2**63))
    return asked


def _budget_within(budget: int | None, tokens: int) -> int | None:
    """Return the thinking budget of the server for a request with a limit on its tokens.

    If the budget would leave nothing for the answer, half of the tokens are for the thought.
    """
    if budget is None or budget < tokens:
        return budget
    return tokens // 2 or None


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > _MAX_STOPS:
        raise bad_request(
            f"at most {_MAX_STOPS} stop sequences are allowed, not {len(stops)}", "stop"
        )
    return tuple(text for text in stops if text)
