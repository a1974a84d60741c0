"""Conversations as OpenAI messages, with references to media; see `media_parts`."""

from __future__ import annotations

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
    VideoFile,
)
from dreamr.engines.http.answer_fields import call_fields
from dreamr.engines.http.media_parts import image_part, sound_part, video_part
from dreamr.errors import Unsupported

Message = dict[str, Any]


def messages(
    conversation: Conversation,
    *,
    whole_images: bool = False,
    audio_urls: bool = False,
    video: str = "video_url",
) -> list[Message]:
    """Convert each turn of a conversation to a message.

    The content of a text-only turn is a string, which some servers require.

    Args:
        conversation: The conversation.
        whole_images: Whether images are sent in any case, for endpoints that do not find them by
            an id.
        audio_urls: Whether sounds are sent as data URIs, which is SGLang's form.
        video: Type of the content parts of video files.

    Raises:
        Unsupported: If a part is a video or a document.
    """
    return [_message(turn, whole_images, audio_urls, video) for turn in conversation.turns]


def text_message(role: str, text: str) -> Message:
    """Return a message that consists of text."""
    return {"role": role, "content": text}


def _message(turn: Turn, whole_images: bool, audio_urls: bool, video: str) -> Message:
    # A spoken question has an empty text.
    said = [part for part in turn.parts if part != Text("")] or turn.parts
    parts = [_part(part, whole_images, audio_urls, video) for part in said]
    more = call_fields(turn)
    if all(part["type"] == "text" for part in parts):
        return {**text_message(turn.role, "".join(part["text"] for part in parts)), **more}
    return {"role": turn.role, "content": parts, **more}


def _part(part: Part, whole_images: bool, audio_urls: bool, video: str) -> Message:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            return image_part(part, whole=whole_images)
        case Audio():
            return sound_part(part, url=audio_urls)
        case VideoFile():
            return video_part(part, video)
        case Video() | Document():
            kind = type(part).__name__.lower()
            raise Unsupported(f"a {kind} cannot be sent as it is: use flatten(conversation)")
