"""lmms-eval's chat messages as a conversation, and an answer as it wants it."""

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
    """The conversation of messages `{"role": ..., "content": [{"type": ..., ...}, ...]}`.

    Args:
        messages: of a task's `doc_to_messages`; pictures are Pillow images, paths or bytes, under
            "url".
        system_prompt: comes first, unless the task brings a system turn of its own.

    Raises:
        Unsupported: sound or video.
        ConversationError: a picture cannot be read, or there is no question.
    """
    turns = [_turn(message) for message in messages]
    if system_prompt and not any(turn.role == "system" for turn in turns):
        turns.insert(0, Turn("system", (Text(system_prompt),)))
    conversation = Conversation(tuple(turns))
    conversation.check()
    return conversation


def cut(text: str, until: str | Iterable[str] | None) -> str:
    """The text before the first of the stop strings."""
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
            raise Unsupported(f"dreamr takes text and pictures, not {kind}: choose another task")
