"""Parsing of the body of a chat completion request into a frozen value, or one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from dreamr._options import RunOptions
from dreamr.serving.gateway.apis.chat.form import FormFields, is_plain
from dreamr.serving.gateway.apis.chat.turns import Message, read_turns
from dreamr.serving.gateway.apis.effort import NO_THINKING, budget_of_effort, switched_off, unread
from dreamr.serving.gateway.apis.fields import (
    Extension,
    JsonModel,
    read_stops,
    run_options,
    some_names,
    validated,
)
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.gateway.errors import bad_request, shortened

_MAX_BIASES = 1024  # as in vLLM
_MAX_CHOICES = 8  # runs of one request, side by side


class _StreamOptions(JsonModel):
    include_usage: bool = False


class _Body(FormFields):
    model: str
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    n: Annotated[int, Field(ge=1, le=_MAX_CHOICES)] | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
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
    dreamr: Extension | None = None


# Fields that would change the format of the answer, and the values that leave it as it is.
_FORM: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"], []),
    "audio": (),
}
# Fields that ask for an answer in a given form, in the words of other servers.
_OUTPUT_FORMS = (
    "structural_tag", "guided_json", "guided_json_object",
    "guided_regex", "guided_choice", "guided_grammar", "grammar", "json_schema", "regex", "ebnf",
    "format", "output_format", "response_schema",
)  # fmt: skip
_FORMATS = ("response_format", "structured_outputs")  # that are read outside of nested objects
_NESTED = ("extra_body", "nvext")  # objects in which clients send fields of other servers
# Fields of the form that are not read inside of these objects, and the values that ask for nothing.
_OUTSIDE: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
}
# Fields that only label a request.
_LABELS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "request_id",
}  # fmt: skip


def read_request(body: bytes | bytearray, sender: Sender) -> ParsedRequest:
    """Parse and validate the body of a chat completion request.

    Args:
        body: JSON text.
        sender: What is known about the request.

    Raises:
        ApiError: If the body is invalid, too large, or asks for something unsupported.
    """
    payload = validated(_Body, body)
    options, limits = sender.options_of(payload.model), sender.limits
    extra = payload.model_extra or {}
    _check_form(extra)
    turns = tuple(read_turns(payload.messages, limits))
    ignored = extra.keys() - _FORM.keys() - _LABELS - set(_OUTPUT_FORMS)
    ignored |= {f"chat_template_kwargs.{name}" for name in unread(payload.chat_template_kwargs)}
    extension = payload.dreamr or Extension()
    return ParsedRequest(
        model=payload.model,
        turns=turns,
        options=_options(options, payload, extension),
        stop=read_stops(payload.stop),
        stream=bool(payload.stream),
        include_usage=payload.stream_options is not None and payload.stream_options.include_usage,
        events=extension.events,
        deadline=min(limits.deadline, extension.deadline or limits.deadline),
        ignored=some_names(ignored),
        ignored_count=len(ignored),
        tools=payload.tools_given,
        form=payload.form,
        choices=payload.n or 1,
    )


def _check_form(
    extra: Mapping[str, Any], where: str = "", form: Mapping[str, tuple[Any, ...]] = _FORM
) -> None:
    refused = [
        name
        for name, neutral in form.items()
        if (value := extra.get(name)) is not None and value not in neutral
    ]
    names = _OUTPUT_FORMS if not where else (*_OUTPUT_FORMS, *_FORMATS)
    refused += [name for name in names if not is_plain(extra.get(name))]
    if refused:
        name = refused[0]
        raise bad_request(
            f"{where}{name} = {shortened(extra[name])} is not supported here: leave it out",
            f"{where}{name}",
            "unsupported_parameter",
        )
    for name in _NESTED:
        if isinstance(inner := extra.get(name), dict):
            _check_form(inner, f"{where}{name}.", {**_FORM, **_OUTSIDE})


def _options(options: RunOptions, payload: _Body, extension: Extension) -> RunOptions:
    """Apply the options of a request to those of the server."""
    tokens = (
        payload.max_tokens
        if payload.max_completion_tokens is None
        else payload.max_completion_tokens
    )
    budget = budget_of_effort(payload.reasoning_effort)
    if switched_off(payload.chat_template_kwargs):
        budget = NO_THINKING
    return run_options(
        options,
        extension,
        effort=budget,
        max_tokens=tokens,
        temperature=payload.temperature,
        top_p=payload.top_p,
        top_k=payload.top_k,
        min_p=payload.min_p,
        presence_penalty=payload.presence_penalty,
        frequency_penalty=payload.frequency_penalty,
        repetition_penalty=payload.repetition_penalty,
        logit_bias=payload.logit_bias,
        seed=payload.seed,
    )
