"""Input items of OpenAI's responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from dreamr.conversation import ToolCall, TurnRole
from dreamr.serving.gateway.apis.fields import JsonModel
from dreamr.serving.gateway.apis.responses.tools import ClientTool, custom_arguments
from dreamr.serving.gateway.apis.turn_builder import TurnBuilder
from dreamr.serving.gateway.apis.turn_counter import TurnCounter
from dreamr.serving.gateway.content_parts import (
    MessagePart,
    SentMedia,
    each_part,
    file_name,
    too_many,
    with_content,
)
from dreamr.serving.gateway.errors import bad_request, shortened
from dreamr.serving.gateway.field_errors import tagged

_ROLES: Mapping[str, TurnRole] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant"
}  # fmt: skip


class _Text(JsonModel):
    type: Literal["input_text", "output_text", "text", "summary_text", "reasoning_text"]
    text: str


class _Refusal(JsonModel):
    type: Literal["refusal"]
    refusal: str


class _Image(JsonModel):
    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None


class _File(JsonModel):
    type: Literal["input_file"]
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _Sound(JsonModel):
    data: str


class _Audio(JsonModel):
    type: Literal["input_audio"]
    input_audio: _Sound


_Part: TypeAlias = _Text | _Refusal | _Image | _File | _Audio
_PART: TypeAdapter[_Part] = TypeAdapter(Annotated[_Part, Field(discriminator="type")])
_PARTS = "input_text, output_text, input_image, input_file or input_audio"


class _Message(JsonModel):
    type: Literal["message"]
    role: str
    content: Any


class _Call(JsonModel):
    type: Literal["function_call"]
    call_id: str
    name: str
    namespace: str | None = None
    arguments: str


class _CustomCall(JsonModel):
    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    namespace: str | None = None
    input: str


class _Output(JsonModel):
    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Any


class _Reasoning(JsonModel):
    type: Literal["reasoning"]
    summary: Any = None
    content: Any = None


_Item: TypeAlias = _Message | _Call | _CustomCall | _Output | _Reasoning
_ITEM: TypeAdapter[_Item] = TypeAdapter(Annotated[_Item, Field(discriminator="type")])
_ITEMS = (
    "message, function_call, function_call_output, custom_tool_call, custom_tool_call_output or "
    "reasoning"
)
# Items about tools that are never offered, since the vendor's servers run them. A conversation that
# began elsewhere can have them.
_OF_VENDOR = {
    "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
    "computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output",
    "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output",
    "mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response",
    "tool_search_call", "tool_search_output", "compaction",
}  # fmt: skip


def add_items(turns: TurnBuilder, items: Any, counter: TurnCounter) -> list[str]:
    """Add the input of a request to its turns, and return the names of items that are left out.

    Args:
        turns: Takes the items.
        items: Value of the field `input`.
        counter: Limits of the request.

    Raises:
        ApiError: If the input or an item is invalid.
    """
    skipped: list[str] = []
    match items:
        case str():
            turns.add("user", [items] if items else [])
        case list():
            if len(items) > counter.left:
                raise too_many("input")
            for number, item in enumerate(items):
                kind = item.get("type") if isinstance(item, dict) else None
                if isinstance(kind, str) and kind in _OF_VENDOR:
                    skipped.append(f"input.{number} ({kind})")
                else:
                    _add(turns, item, f"input.{number}", counter)
        case _:
            raise bad_request("input must be a string or a list of items", "input")
    return skipped


def _add(turns: TurnBuilder, item: Any, where: str, counter: TurnCounter) -> None:
    match _checked(item, where):
        case _Message(role=name, content=content):
            if (role := _ROLES.get(name)) is None:
                raise bad_request(
                    f"role {shortened(name)} is not supported: use {', '.join(_ROLES)}",
                    f"{where}.role",
                )
            parts = read_parts(content, f"{where}.content", counter.left)
            if not parts and role == "user":
                raise bad_request("a user message must not be empty", where)
            turns.add(role, parts)
        case _Call(call_id=call, arguments=arguments) as made:
            turns.call(ToolCall(call, ClientTool(made.name, made.namespace).function, arguments))
        case _CustomCall(call_id=call) as made:
            function = ClientTool(made.name, made.namespace).function
            turns.call(ToolCall(call, function, custom_arguments(made.input)))
        case _Output(call_id=call, output=output):
            turns.add("tool", read_parts(output, f"{where}.output", counter.left), call)
        case _Reasoning() as thought:
            content = thought.content or thought.summary
            parts = read_parts(content, where, counter.left)
            turns.think("".join(part for part in parts if isinstance(part, str)))


def _checked(item: Any, where: str) -> _Item:
    """Return an item; the type of messages may be left out."""
    if isinstance(item, dict) and "type" not in item and "role" in item:
        item = {**item, "type": "message"}
    return tagged(_ITEM, item, where, "item", _ITEMS, "unsupported_parameter")


def read_parts(content: Any, where: str, most: int) -> list[MessagePart]:
    """Return the parts of the content of an item.

    Args:
        content: Value of the field.
        where: Path of the field in the request.
        most: Largest number of parts.

    Raises:
        ApiError: If the content or a part is invalid.
    """
    return [part for part in each_part(content, where, most, _part) if part != ""]


def _part(part: Any, where: str) -> MessagePart:
    match tagged(_PART, part, where, "content part", _PARTS):
        case _Text(text=text) | _Refusal(refusal=text):
            return text
        case _Image(image_url=url, file_id=file_id):
            if (url is None) == (file_id is None):
                raise bad_request("an image needs image_url or file_id, and not both", where)
            field = "file_id" if url is None else "image_url"
            return SentMedia("image", f"{where}.{field}", url=url, file_id=file_id)
        case _Audio(input_audio=sound):
            return with_content(SentMedia("sound", f"{where}.input_audio.data"), sound.data)
        case _File() as file:
            return _file(file, where)


def _file(file: _File, where: str) -> SentMedia:
    given = {
        name: value
        for name in ("file_data", "file_id", "file_url")
        if (value := getattr(file, name)) is not None
    }
    if len(given) != 1:
        raise bad_request("a file needs one of file_data, file_id and file_url", where)
    [(field, value)] = given.items()
    media = SentMedia("file", f"{where}.{field}", name=file_name(file.filename))
    if field == "file_id":
        return SentMedia(media.kind, media.param, file_id=value, name=media.name)
    if field == "file_url":
        return SentMedia(media.kind, media.param, url=value, name=media.name)
    return with_content(media, value)
