"""Images, sounds and video files in the bodies of requests.

A body is built with references to media. When it is sent, the JSON of each reference is put in: the
file, which is encoded once for all requests, or only the id by which the server finds it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any, Literal, TypeAlias

from dreamr.conversation import Audio, Image, VideoFile
from dreamr.engines.http.media_files import MediaFile

# How a server takes media of a kind. 'data': in each request. 'content_hash': likewise, with a
# digest that saves it from computing one. 'uuid': once, and then by an id.
MediaRoute: TypeAlias = Literal["data", "content_hash", "uuid"]
MediaKind: TypeAlias = Literal["image", "sound", "video"]

_SMALL_SOUND = 2**16  # bytes: a shorter one is sent each time, as a small text would be


@dataclass(frozen=True, slots=True)
class MediaReference:
    """An image, a sound or a video file in a body.

    Attributes:
        media: The image, sound or video file.
        form: What it becomes. 'part': the value in a content part, which is `image_url`,
            `input_audio` or `video_url`. 'uri': a data URI. 'base64': the file in base64.
    """

    media: Image | Audio | VideoFile
    form: Literal["part", "uri", "base64"] = "part"

    @property
    def kind(self) -> MediaKind:
        """Kind of the media."""
        if isinstance(self.media, Image):
            return "image"
        return "sound" if isinstance(self.media, Audio) else "video"

    @property
    def can_be_omitted(self) -> bool:
        """Whether it may be worth asking the server for an id."""
        small = isinstance(self.media, Audio) and len(self.media.data) <= _SMALL_SOUND
        return self.form == "part" and not small

    def to_json(self, file: MediaFile, route: MediaRoute, *, omitted: bool = False) -> bytes:
        """Return the JSON of the value; with an id, also that of the field that follows.

        Args:
            file: Its file.
            route: How the server takes media of its kind.
            omitted: Whether the server has the file already.
        """
        if self.form != "part":
            return b'"%b"' % (file.data_uri if self.form == "uri" else file.base64)
        named = b',"uuid":"%b"' % file.uuid if route == "uuid" else b""
        if self.kind == "sound":  # vLLM refuses null here, and takes the empty data as none
            return b'{"data":"%b","format":"wav"}%b' % (b"" if omitted else file.base64, named)
        if omitted:
            return b"null" + named
        if route == "content_hash":
            digest = file.digest.encode()
            return b'{"url":"%b","content_hash":"%b"}' % (file.data_uri, digest)
        return b'{"url":"%b"}%b' % (file.data_uri, named)


def image_part(image: Image, *, whole: bool = False) -> dict[str, Any]:
    """Return the content part of an image.

    Args:
        image: The image.
        whole: Whether the image is sent in any case, rather than an id where the server has it.
    """
    url = {"url": MediaReference(image, "uri")} if whole else MediaReference(image)
    return {"type": "image_url", "image_url": url}


def sound_part(audio: Audio, *, url: bool = False) -> dict[str, Any]:
    """Return the content part of a sound.

    Args:
        audio: The sound.
        url: Whether the server takes sounds as data URIs, which is not OpenAI's form.
    """
    if url:
        return {"type": "audio_url", "audio_url": {"url": MediaReference(audio, "uri")}}
    return {"type": "input_audio", "input_audio": MediaReference(audio)}


def video_part(file: VideoFile, kind: str) -> dict[str, Any]:
    """Return the content part of a video file.

    Args:
        file: The file.
        kind: Type of the part: `video_url`, or llama.cpp's `input_video`.
    """
    if kind == "input_video":
        return {"type": kind, kind: {"data": MediaReference(file, "base64")}}
    return {"type": kind, kind: MediaReference(file)}


@dataclass(frozen=True, slots=True)
class Template:
    """The JSON of a body, without its media.

    Attributes:
        pieces: JSON before, between and after the media.
        media: The images, sounds and video files, in order.
        text_bytes: Number of bytes without them.
    """

    pieces: Sequence[bytes]
    media: Sequence[MediaReference]
    text_bytes: int

    @classmethod
    def of(cls, body: Any) -> Template:
        """Serialize a body as compact UTF-8."""
        media: list[MediaReference] = []
        mark = token_hex(16)  # cannot be in a text
        written = json.dumps(
            body,
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
            default=partial(_mark, media, mark),
        )
        pieces = written.encode().split(f'"{mark}"'.encode())
        return cls(pieces, media, sum(map(len, pieces)))

    def filled(self, media: Sequence[bytes]) -> list[bytes]:
        """Return the pieces of the body, with the JSON of the media."""
        found = [self.pieces[0]]
        for one, piece in zip(media, self.pieces[1:], strict=True):
            found += (one, piece)
        return found


def _mark(media: list[MediaReference], mark: str, value: object) -> str:
    """Take note of a reference, and return what marks its place."""
    if not isinstance(value, MediaReference):
        raise TypeError(f"a value of type {type(value).__name__} is not JSON")
    media.append(value)
    return mark
