"""Conversations as OpenAI's messages. The same conversation always gives the same bytes."""

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

_KEPT = 64  # pictures whose text is kept: every call sends them again


def messages(conversation: Conversation) -> list[Message]:
    """A message for each turn; turns of text alone hold a plain text, as some servers demand.

    Raises:
        Unsupported: a part that is neither text nor picture.
    """
    return [_message(turn) for turn in conversation.turns]


def text_message(role: str, text: str) -> Message:
    """A message of text."""
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
            raise Unsupported(f"{type(part).__name__.lower()} parts are not supported yet")


@lru_cache(_KEPT)
def _data_uri(image: Image) -> str:
    """The pixels as a PNG; byte for byte the same each time, so that prefix caches hit."""
    file = io.BytesIO()
    to_pillow(image).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()
