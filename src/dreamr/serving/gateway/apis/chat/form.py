"""Tools and the form of the answer in a chat completion request."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from dreamr.answers import (
    MAX_TOP_LOGPROBS,
    AnswerForm,
    AnswerFormat,
    Choice,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    ToolChoice,
)
from dreamr.conversation import Tool
from dreamr.serving.gateway.apis.fields import JsonModel
from dreamr.serving.gateway.errors import bad_request, shortened

_MAX_TOOLS = 128  # as in OpenAI's API
_MAX_OPTIONS = 1024  # texts to choose from


class _Function(JsonModel):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(JsonModel):
    type: Literal["function"]
    function: _Function


class _NamedFunction(JsonModel):
    name: str


class _NamedTool(JsonModel):
    type: Literal["function"]
    function: _NamedFunction


class _Schema(JsonModel):
    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class _ResponseFormat(JsonModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


_Options: TypeAlias = Annotated[list[str], Field(min_length=1, max_length=_MAX_OPTIONS)]


class _StructuredOutputs(JsonModel):
    json_: Annotated[str | dict[str, Any] | None, Field(alias="json")] = None
    json_object: bool | None = None
    regex: str | None = None
    choice: _Options | None = None
    grammar: str | None = None


def is_plain(form: Any) -> bool:
    """Return whether the value of an output form asks for plain text, or for nothing."""
    if isinstance(form, dict):
        return all(
            value is None or (name, value) == ("type", "text") for name, value in form.items()
        )
    return form in (None, "", "text", False, [])


_PlainIsNone = BeforeValidator(lambda form: None if is_plain(form) else form)


class FormFields(JsonModel):
    """Fields of a request about tools and the form of its answer."""

    tools: Annotated[list[_Tool], Field(max_length=_MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: str | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[_ResponseFormat | None, _PlainIsNone] = None
    structured_outputs: Annotated[_StructuredOutputs | None, _PlainIsNone] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @property
    def tools_given(self) -> tuple[Tool, ...]:
        """The tools that the model may call."""
        return tuple(
            Tool(
                one.function.name,
                one.function.description or "",
                _text({"type": "object", "properties": {}, **(one.function.parameters or {})}),
                bool(one.function.strict),
            )
            for one in self.tools or ()
        )

    @property
    def form(self) -> AnswerForm:
        """The form of the answer.

        Raises:
            ApiError: If fields do not go together (400).
        """
        choice, format_ = self.tool_choice, self._format()
        named = choice.function.name if isinstance(choice, _NamedTool) else None
        if self.top_logprobs and not self.logprobs:
            raise bad_request("top_logprobs needs logprobs = true", "top_logprobs")
        if isinstance(choice, str) and choice not in get_args(ToolChoice):
            raise bad_request(
                f"tool_choice {shortened(choice)} is not supported: use auto, none, required or a "
                "function",
                "tool_choice",
            )
        chosen: Any = choice if isinstance(choice, str) else "required" if named else "auto"
        return AnswerForm(
            tool_choice=chosen,
            tool=named,
            parallel_calls=self.parallel_tool_calls is not False,
            format=format_,
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )

    def _format(self) -> AnswerFormat | None:
        response, structured = self.response_format, self.structured_outputs
        found: list[AnswerFormat] = []
        if response is not None and response.type == "json_object":
            found.append(JsonObject())
        elif response is not None and response.type == "json_schema":
            schema = response.json_schema
            if schema is None or schema.schema_ is None:
                raise bad_request(
                    "response_format of type json_schema needs json_schema.schema",
                    "response_format.json_schema",
                )
            found.append(JsonSchema(_text(schema.schema_), schema.name, bool(schema.strict)))
        if structured is not None:
            found += _structured(structured)
        if len(found) > 1:
            raise bad_request(
                "the answer can have one format only: choose one of response_format and the fields "
                "of structured_outputs",
                "response_format",
            )
        return found[0] if found else None


def _structured(fields: _StructuredOutputs) -> list[AnswerFormat]:
    found: list[AnswerFormat] = []
    if fields.json_ is not None:
        found.append(JsonSchema(_schema_text(fields.json_)))
    if fields.json_object:
        found.append(JsonObject())
    if fields.regex is not None:
        found.append(Regex(fields.regex))
    if fields.choice is not None:
        found.append(Choice(tuple(fields.choice)))
    if fields.grammar is not None:
        found.append(Grammar(fields.grammar))
    if extra := sorted(fields.model_extra or ()):
        raise bad_request(
            f"structured_outputs.{shortened(extra[0])} is not supported: use json, json_object, "
            "regex, choice or grammar",
            "structured_outputs",
            "unsupported_parameter",
        )
    return found


def _schema_text(schema: str | dict[str, Any]) -> str:
    return schema if isinstance(schema, str) else _text(schema)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
