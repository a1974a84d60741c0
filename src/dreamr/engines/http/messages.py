"""Conversations as OpenAI messages; equal conversations give the same bytes."""

from __future__ import annotations

import io
import threading
from base64 import b64encode
from collections import OrderedDict
from typing import Any

import anyio.to_thread

from dreamr.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Part,
    Text,
    Turn,
    Video,
    to_pillow,
)
from dreamr.errors import Unsupported

Message = dict[str, Any]

_KEPT_BYTES = 128 * 2**20  # of encoded images: every call sends them again


def messages(conversation: Conversation) -> list[Message]:
    """Convert each turn of a conversation to a message.

    The content of a text-only turn is a string, which some servers require.

    Raises:
        Unsupported: If a part is neither text nor image.
    """
    return [_message(turn) for turn in conversation.turns]


def text_message(role: str, text: str) -> Message:
    """Return a message that consists of text."""
    return {"role": role, "content": text}


def _message(turn: Turn) -> Message:
    parts = [_part(part) for part in turn.parts]
    if all(part["type"] == "text" for part in parts):
        return text_message(turn.role, "".join(part["text"] for part in parts))
    return {"role": turn.role, "content": parts}


def _part(part: Part) -> Message:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            return {"type": "image_url", "image_url": {"url": _encodings.of(part)}}
        case Audio() | Video() | Document():
            kind = type(part).__name__.lower()
            raise Unsupported(f"{kind} parts are not supported yet: send text and images")


class _Encodings:
    """The latest encoded images, up to a number of bytes. Threads can share it."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._known: OrderedDict[Image, str] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, image: Image) -> bool:
        return image in self._known

    def of(self, image: Image) -> str:
        """Return an image as a data URI; the same text each time, so that prefix caches hit."""
        with self._lock:
            if (uri := self._known.get(image)) is not None:
                self._known.move_to_end(image)
                return uri
        uri = _data_uri(image)
        with self._lock:
            if image not in self._known:
                self._known[image] = uri
                self._size += len(uri)
            while self._size > self._most and len(self._known) > 1:
                self._size -= len(self._known.popitem(last=False)[1])
        return uri


_encodings = _Encodings(_KEPT_BYTES)


async def encode_images(conversation: Conversation) -> None:
    """Encode the images of a conversation in a thread, so that `messages` finds them."""
    for image in conversation.images:
        if image not in _encodings:
            await anyio.to_thread.run_sync(_encodings.of, image)


def _data_uri(image: Image) -> str:
    file = io.BytesIO()
    to_pillow(image).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
