"""Conversations as OpenAI messages; equal conversations give the same bytes."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import lru_cache
from typing import Any

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

_KEPT = 64  # encoded images in the cache: every call sends them again


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
            return {"type": "image_url", "image_url": {"url": _data_uri(part)}}
        case Audio() | Video() | Document():
            kind = type(part).__name__.lower()
            raise Unsupported(f"{kind} parts are not supported yet: send text and images")


@lru_cache(_KEPT)
def _data_uri(image: Image) -> str:
    """Encode an image as a PNG; the same bytes each time, so that prefix caches hit."""
    file = io.BytesIO()
    to_pillow(image).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
