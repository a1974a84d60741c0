"""What was read of the attachments of a request, for its response."""

from __future__ import annotations

from typing import Any

from dreamr.conversation import Audio, Conversation, Document, Image, Part, Video

Json = dict[str, Any]


def describe_attachments(conversation: Conversation) -> list[Json]:
    """Return an object for each attachment, in the order of the messages."""
    parts = [part for turn in conversation.turns for part in turn.parts]
    return [found for part in parts if (found := _described(part)) is not None]


def _described(part: Part) -> Json | None:
    match part:
        case Image(width=width, height=height, name=name):
            return {"kind": "image", "name": name, "width": width, "height": height}
        case Document(pages=pages, count=count, name=name):
            numbers = [page.number for page in pages]
            texts = sum(bool(page.text) for page in pages)
            return {
                "kind": "document", "name": name, "pages": numbers, "count": count, "texts": texts,
            }  # fmt: skip
        case Video(frames=frames, seconds=seconds, sound=sound, name=name):
            return {
                "kind": "video", "name": name, "frames": len(frames), "seconds": round(seconds, 3),
                "sound": sound is not None,
            }  # fmt: skip
        case Audio(seconds=seconds, name=name):
            return {"kind": "sound", "name": name, "seconds": round(seconds, 3)}
    return None
