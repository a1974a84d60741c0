"""What a client asks for: one body of JSON becomes one frozen value, or one clear error."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.options import ServeOptions

_MOST_STOPS = 16


class _Json(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _TextPart(_Json):
    type: Literal["text"]
    text: str


class _ImageUrl(_Json):
    url: str


class _ImagePart(_Json):
    type: Literal["image_url"]
    image_url: _ImageUrl | str


_PART: TypeAdapter[_TextPart | _ImagePart] = TypeAdapter(
    Annotated[_TextPart | _ImagePart, Field(discriminator="type")]
)


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
    deterministic: bool | None = None
    deadline: Annotated[float, Field(gt=0)] | None = None
    events: bool = False


class _Body(_Json):
    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    dreamr: _Extension | None = None


# What would change the form of an answer, and the values at which it does not.
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
    "response_format": ({"type": "text"},),
    "modalities": (["text"], []),
    "audio": (),
}
# What says who asks and what for; it changes nothing.
_LABELS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls", "request_id",
}  # fmt: skip
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """A picture as the client names it: a data URI, or an address."""

    url: str
    param: str


MessagePart: TypeAlias = str | ImageUrl


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """One turn, its pictures not read yet."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[MessagePart, ...]


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request that can be answered.

    options: the server's, with what the client wants otherwise. events: whether the client wants
    every event of the run. ignored: fields that have no effect here, which the client is told.
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


def read_request(body: bytes, options: RunOptions, limits: ServeOptions) -> ParsedRequest:
    """What the body asks for.

    Raises:
        ApiError: it is no such request, or asks for what there is not.
    """
    try:
        payload = _Body.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error
    if payload.model != limits.served_model_name:
        raise ApiError(
            404,
            f"there is no model {_short(payload.model)}: the one here is "
            f"{limits.served_model_name!r}",
            param="model",
            code="model_not_found",
        )
    extra = payload.model_extra or {}
    _check_form(extra)
    turns = tuple(_turns(payload.messages, limits))
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
        ignored=tuple(sorted(extra.keys() - _FORM.keys() - _LABELS)),
    )


def _check_form(extra: Mapping[str, Any]) -> None:
    for name, neutral in _FORM.items():
        value = extra.get(name)
        if value is not None and value not in neutral:
            raise bad_request(
                f"{name} = {_short(value)} is not supported here: leave it out",
                name,
                "unsupported_parameter",
            )


def _turns(messages: Sequence[_Message], limits: ServeOptions) -> Iterator[ParsedMessage]:
    left = limits.max_parts
    images, characters = 0, 0
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        role = _ROLES.get(message.role)
        if role is None:
            known = ", ".join(_ROLES)
            raise bad_request(
                f"a message of role {_short(message.role)} cannot be answered: use {known}",
                f"{where}.role",
            )
        parts = tuple(_parts(message.content, where, left))
        left -= max(1, len(parts))
        if left < 0:
            raise bad_request(f"more than {limits.max_parts} messages and parts", "messages")
        images += sum(isinstance(part, ImageUrl) for part in parts)
        if images > limits.max_images:
            raise bad_request(f"more than {limits.max_images} pictures", "messages")
        characters += sum(len(part) for part in parts if isinstance(part, str))
        if characters > limits.max_text:
            raise bad_request(
                f"more than {limits.max_text:,} characters",
                "messages",
                "context_length_exceeded",
            )
        if parts:
            yield ParsedMessage(role, parts)
        elif role == "user":
            raise bad_request("this message is empty", where)


def _parts(content: Any, where: str, most: int) -> Iterator[MessagePart]:
    match content:
        case None | "":
            return
        case str():
            yield content
        case list():
            if len(content) > most:
                raise bad_request("too many parts", f"{where}.content")
            for number, part in enumerate(content):
                yield _part(part, f"{where}.content.{number}")
        case _:
            raise bad_request("content must be a text or a list of parts", f"{where}.content")


def _part(part: Any, where: str) -> MessagePart:
    try:
        match _PART.validate_python(part):
            case _TextPart(text=text):
                return text
            case _ImagePart(image_url=shown):
                return ImageUrl(shown if isinstance(shown, str) else shown.url, where)
    except ValidationError as error:
        kind = part.get("type") if isinstance(part, dict) else part
        if error.errors()[0]["type"].startswith("union_tag"):
            raise bad_request(
                f"a part of type {_short(kind)} cannot be read: send text and image_url", where
            ) from error
        raise _invalid(error, where) from error


def _options(options: RunOptions, payload: _Body, extension: _Extension) -> RunOptions:
    """The server's options with what the client wants otherwise."""
    tokens = (
        payload.max_tokens
        if payload.max_completion_tokens is None
        else payload.max_completion_tokens
    )
    overrides: dict[str, Any] = {
        "method": extension.method,
        "window": extension.window,
        "threshold": extension.threshold,
        "fallback": extension.fallback,
        "final_answer": extension.final_answer,
        "deterministic": extension.deterministic,
        "max_tokens": tokens,
        "temperature": payload.temperature,
        "top_p": None if payload.top_p is None else max(0.01, payload.top_p),
        "seed": _seed(payload, options),
    }
    try:
        return replace(options, **{k: value for k, value in overrides.items() if value is not None})
    except BadOption as error:
        raise bad_request(str(error).removeprefix("--"), "dreamr") from error


def _seed(payload: _Body, options: RunOptions) -> int | None:
    if payload.seed is not None:
        return payload.seed % 2**63
    temperature = options.temperature if payload.temperature is None else payload.temperature
    # Without a seed the same question is to have another answer each time.
    return secrets.randbelow(2**63) if temperature > 0 else None


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > _MOST_STOPS:
        raise bad_request(f"more than {_MOST_STOPS} stop texts", "stop")
    return tuple(text for text in stops if text)


def _invalid(error: ValidationError, where: str | None = None) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    param = ".".join(filter(None, (where, place))) or None
    return bad_request(f"{param}: {first['msg']}" if param else first["msg"], param)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
