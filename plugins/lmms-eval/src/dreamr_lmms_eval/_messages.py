"""Conversion of lmms-eval's chat messages to a conversation, and of answers to responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dreamr import Conversation, Image, Text, Turn, Unsupported, read_image

REQUEST = (
    "Reason step by step, with a blank line between two steps. End with a line of its own: "
    '"Answer:" and then the final answer alone, in the form that the question asks for.'
)


def conversation_of(
    messages: Iterable[Mapping[str, Any]], system_prompt: str | None = None
) -> Conversation:
    """Convert messages `{"role": ..., "content": [{"type": ..., ...}, ...]}` to a conversation.

    Args:
        messages: Result of a task's `doc_to_messages`. Images are Pillow images, paths or bytes,
            under "url".
        system_prompt: Inserted first, unless the task has its own system turn.

    Raises:
        Unsupported: If a message contains audio or video.
        ConversationError: If an image cannot be read or there is no question.
    """
    turns = [_turn(message) for message in messages]
    if system_prompt and not any(turn.role == "system" for turn in turns):
        turns.insert(0, Turn("system", (Text(system_prompt),)))
    conversation = Conversation(tuple(turns))
    conversation.check()
    return conversation


def cut(text: str, until: str | Iterable[str] | None) -> str:
    """Return the text before the first stop string."""
    stops = [until] if isinstance(until, str) else list(until or ())
    places = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(places, default=len(text))]


def _turn(message: Mapping[str, Any]) -> Turn:
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return Turn(message["role"], tuple(_part(part) for part in parts))


def _part(part: Mapping[str, Any]) -> Text | Image:
    match part["type"]:
        case "text":
            return Text(part["text"])
        case "image":
            return read_image(part["url"])
        case kind:
            raise Unsupported(f"dreamr accepts text and images, not {kind}: choose another task")
