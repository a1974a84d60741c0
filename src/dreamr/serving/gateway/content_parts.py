"""Content parts of messages: text, and attachments as they were sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dreamr.serving.gateway.errors import ApiError, bad_request
from dreamr.serving.gateway.field_errors import tagged

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff/\\]+")
_MOST_NAME = 100  # characters of a file name

_Part = TypeVar("_Part")
MediaKind: TypeAlias = Literal["image", "video", "sound", "file"]


@dataclass(frozen=True, slots=True)
class SentMedia:
    """An attachment of a request before it is read. One of `url`, `base64` and `file_id` is set.

    Attributes:
        kind: What the part says it holds; a file holds any kind.
        param: Path of the field in the request, for errors.
        url: Data URI or HTTP URL.
        base64: The content in base64.
        file_id: Id of an uploaded file.
        name: Name of the file, if the client gave one.
    """

    kind: MediaKind
    param: str
    url: str | None = None
    base64: str | None = None
    file_id: str | None = None
    name: str | None = None


MessagePart: TypeAlias = str | SentMedia


class _Json(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Url(_Json):
    url: str


class _File(_Json):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _InputAudio(_Json):
    data: str
    format: str | None = None


class _TextPart(_Json):
    type: Literal["text"]
    text: str


class _ImagePart(_Json):
    type: Literal["image_url"]
    image_url: _Url | str


class _VideoPart(_Json):
    type: Literal["video_url"]
    video_url: _Url | str


class _AudioUrlPart(_Json):
    type: Literal["audio_url"]
    audio_url: _Url | str


class _AudioPart(_Json):
    type: Literal["input_audio"]
    input_audio: _InputAudio


class _FilePart(_Json):
    type: Literal["file"]
    file: _File


_Known: TypeAlias = _TextPart | _ImagePart | _VideoPart | _AudioUrlPart | _AudioPart | _FilePart
_PART: TypeAdapter[_Known] = TypeAdapter(Annotated[_Known, Field(discriminator="type")])
_TYPES = "text, image_url, video_url, input_audio or file"


def read_parts(content: Any, where: str, most: int) -> Iterator[MessagePart]:
    """Yield the parts of the content of a message.

    Args:
        content: Value of the field.
        where: Path of the message in the request.
        most: Largest number of parts.

    Raises:
        ApiError: If the content or a part is invalid.
    """
    yield from each_part(content, f"{where}.content", most, _part)


def each_part(
    content: Any, where: str, most: int, read: Callable[[Any, str], _Part], what: str = "parts"
) -> Iterator[str | _Part]:
    """Yield the parts of content that is a text or a list, in any API.

    Args:
        content: Value of the field; null if there is no content.
        where: Path of the field in the request.
        most: Largest number of parts: what is left of --max-parts.
        read: Returns a part of a list, for its value and path.
        what: Name of parts in the API.

    Raises:
        ApiError: If the content or a part is invalid.
    """
    match content:
        case None | "":
            return
        case str():
            yield content
        case list():
            if len(content) > most:
                raise too_many(where)
            for number, part in enumerate(content):
                yield read(part, f"{where}.{number}")
        case _:
            raise bad_request(f"{where} must be a string or a list of {what}", where)


def too_many(param: str) -> ApiError:
    """Return the error of a request whose field `param` exceeds --max-parts."""
    return bad_request(
        "the request has too many messages and parts: send fewer, or raise --max-parts of the "
        "gateway",
        param,
    )


def _part(part: Any, where: str) -> MessagePart:
    match tagged(_PART, part, where, "content part", _TYPES):
        case _TextPart(text=text):
            return text
        case _ImagePart(image_url=shown):
            return SentMedia("image", where, url=_url(shown))
        case _VideoPart(video_url=shown):
            return SentMedia("video", f"{where}.video_url", url=_url(shown))
        case _AudioUrlPart(audio_url=shown):
            return SentMedia("sound", f"{where}.audio_url", url=_url(shown))
        case _AudioPart(input_audio=sound):
            return with_content(SentMedia("sound", f"{where}.input_audio.data"), sound.data)
        case _FilePart(file=file):
            return _file(file, f"{where}.file")


def _url(shown: _Url | str) -> str:
    return shown if isinstance(shown, str) else shown.url


def _file(file: _File, where: str) -> SentMedia:
    name = file_name(file.filename)
    if (file.file_data is None) == (file.file_id is None):
        raise bad_request("a file part needs file_data or file_id, and not both", where)
    if file.file_id is not None:
        return SentMedia("file", f"{where}.file_id", file_id=file.file_id, name=name)
    return with_content(SentMedia("file", f"{where}.file_data", name=name), file.file_data or "")


def with_content(media: SentMedia, data: str) -> SentMedia:
    """Return an attachment with its content: a data URI, or base64 alone as OpenAI has it."""
    found = {"url": data} if data[:5].lower() == "data:" else {"base64": data}
    return SentMedia(media.kind, media.param, name=media.name, **found)


def file_name(given: str | None) -> str | None:
    """Return the name of a file as it can be shown to people and models; None if it has none."""
    if given is None:
        return None
    return _UNPRINTABLE.sub(" ", given[-4 * _MOST_NAME :]).strip()[-_MOST_NAME:] or None
