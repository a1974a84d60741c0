"""Content blocks of Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from dreamr.conversation import ToolCall
from dreamr.serving.gateway.apis.fields import JsonModel
from dreamr.serving.gateway.content_parts import MessagePart, SentMedia, each_part, file_name
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.gateway.field_errors import tagged


class _Base64(JsonModel):
    type: Literal["base64"]
    data: str
    media_type: str = ""


class _Url(JsonModel):
    type: Literal["url"]
    url: str


class _Stored(JsonModel):
    type: Literal["file"]
    file_id: str


class _Plain(JsonModel):
    type: Literal["text"]
    data: str


class _Blocks(JsonModel):
    type: Literal["content"]
    content: Any


_ImageSource: TypeAlias = Annotated[_Base64 | _Url | _Stored, Field(discriminator="type")]
_Source: TypeAlias = Annotated[
    _Base64 | _Url | _Stored | _Plain | _Blocks, Field(discriminator="type")
]


class _Text(JsonModel):
    type: Literal["text"]
    text: str


class _Image(JsonModel):
    type: Literal["image"]
    source: _ImageSource


class _Document(JsonModel):
    type: Literal["document"]
    source: _Source
    title: str | None = None
    context: str | None = None


class _SearchResult(JsonModel):
    type: Literal["search_result"]
    source: str
    title: str
    content: list[_Text]


class _ToolUse(JsonModel):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class _ToolResult(JsonModel):
    type: Literal["tool_result"]
    tool_use_id: str
    content: Any = None
    is_error: bool | None = None


class _Thinking(JsonModel):
    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class _Redacted(JsonModel):
    type: Literal["redacted_thinking"]


_Block: TypeAlias = (
    _Text | _Image | _Document | _SearchResult | _ToolUse | _ToolResult | _Thinking | _Redacted
)
_BLOCK: TypeAdapter[_Block] = TypeAdapter(Annotated[_Block, Field(discriminator="type")])
_TYPES = "text, image, document, search_result, tool_use, tool_result or thinking"
_DEPTH = 2  # a result of a tool may hold a document, which may hold blocks


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Result of a call, which a user's message holds."""

    call_id: str
    parts: tuple[MessagePart, ...]


@dataclass(frozen=True, slots=True)
class Thought:
    """Thought of an earlier answer."""

    text: str


Content: TypeAlias = MessagePart | ToolCall | ToolResult | Thought


def read_content(content: Any, where: str, most: int) -> Iterator[Content]:
    """Yield what the content of a message holds.

    Args:
        content: Value of the field.
        where: Path of the field in the request.
        most: Largest number of blocks.

    Raises:
        ApiError: If the content or a block is invalid.
    """
    yield from _read(content, where, most, _DEPTH)


def _read(content: Any, where: str, most: int, depth: int) -> Iterator[Content]:
    def block(value: Any, place: str) -> Iterator[Content]:
        return _block(value, place, most, depth)

    for found in each_part(content, where, most, block, "blocks"):
        if isinstance(found, str):
            yield found
        else:
            yield from found


def _block(block: Any, where: str, most: int, depth: int) -> Iterator[Content]:
    match tagged(_BLOCK, block, where, "block", _TYPES):
        case _Text(text=text):
            if text:
                yield text
        case _Image(source=source):
            yield _media("image", source, f"{where}.source")
        case _Document() as document:
            yield from _document(document, where, most, depth)
        case _SearchResult(source=source, title=title, content=content):
            yield "\n".join([f"{title} ({source})", *(part.text for part in content)])
        case _ToolUse(id=name_id, name=name, input=given):
            yield ToolCall(name_id, name, json.dumps(given, ensure_ascii=False))
        case _ToolResult(tool_use_id=call, content=content, is_error=is_error):
            parts = tuple(_parts(content, f"{where}.content", most, depth))
            yield ToolResult(call, ("Error: ", *parts) if is_error else parts)
        case _Thinking(thinking=text):
            yield Thought(text)


def _parts(content: Any, where: str, most: int, depth: int) -> Iterator[MessagePart]:
    """Yield the parts of content inside a block, which can hold texts and files only."""
    if depth == 0:
        raise bad_request(f"{where} is nested too deeply", where)
    for part in _read(content, where, most, depth - 1):
        if not isinstance(part, str | SentMedia):
            raise bad_request(f"{where} may hold texts, images and documents only", where)
        yield part


def _document(document: _Document, where: str, most: int, depth: int) -> Iterator[MessagePart]:
    about = [f"{document.title}\n"] if document.title else []
    if document.context:
        about.append(f"{document.context}\n")
    if about:
        yield "".join(about)
    place = f"{where}.source"
    match document.source:
        case _Plain(data=text):
            if text:
                yield text
        case _Blocks(content=content):
            yield from _parts(content, f"{place}.content", most, depth)
        case source:
            yield _media("file", source, place, document.title)


def _media(
    kind: Literal["image", "file"],
    source: _Base64 | _Url | _Stored,
    where: str,
    title: str | None = None,
) -> SentMedia:
    name = file_name(title)
    match source:
        case _Base64(data=data):
            return SentMedia(kind, f"{where}.data", base64=data, name=name)
        case _Url(url=url):
            return SentMedia(kind, f"{where}.url", url=url, name=name)
        case _Stored(file_id=file_id):
            return SentMedia(kind, f"{where}.file_id", file_id=file_id, name=name)
