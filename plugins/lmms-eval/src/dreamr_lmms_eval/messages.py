"""Conversion of lmms-eval's chat messages to a conversation, and of answers to responses."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from dreamr import Conversation, Text, Turn, Unsupported, read_image
from dreamr.conversation import MediaOptions, Part, read_attachment

REQUEST = (
    "Reason step by step, with a blank line between two steps. End with a line of its own: "
    '"Answer:" and then the final answer alone, in the form that the question asks for.'
)


def conversation_of(
    messages: Iterable[Mapping[str, Any]],
    system_prompt: str | None = None,
    media: MediaOptions | None = None,
) -> Conversation:
    """Convert messages `{"role": ..., "content": [{"type": ..., ...}, ...]}` to a conversation.

    Args:
        messages: Result of a task's `doc_to_messages`. Under "url" are images as Pillow images,
            paths or bytes; videos as paths; sounds as paths or as arrays with a sampling rate.
        system_prompt: Inserted first, unless the task has its own system turn.
        media: Which frames of videos are read.

    Raises:
        Unsupported: If a message contains something else.
        ConversationError: If an attachment cannot be read or there is no question.
    """
    turns = [_turn(message, media or MediaOptions()) for message in messages]
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


def _turn(message: Mapping[str, Any], media: MediaOptions) -> Turn:
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return Turn(message["role"], tuple(_part(part, media) for part in parts))


def _part(part: Mapping[str, Any], media: MediaOptions) -> Part:
    match part["type"]:
        case "text":
            return Text(part["text"])
        case "image":
            return read_image(part["url"])
        case "video":
            return read_attachment(part["url"], media)
        case "audio":
            sound = part["url"]
            return read_attachment(_wav(sound) if isinstance(sound, Mapping) else sound, media)
        case kind:
            raise Unsupported(
                f"dreamr accepts text, images, video and audio, not {kind}: choose another task"
            )


def _wav(sound: Mapping[str, Any]) -> bytes:
    """Return a WAV file of a sound as `datasets` decodes it: samples from -1 to 1, and a rate."""
    samples = np.asarray(sound["array"], np.float64)
    if samples.ndim > 1:
        samples = samples.mean(axis=int(samples.shape[0] > samples.shape[1]))  # its channels
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(sound["sampling_rate"]))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()
