"""The user's turns."""

from dreamr.conversation._parts import Audio, Conversation, Document, Image, Part, Text, Turn, Video

__all__ = ["Audio", "Conversation", "Document", "Image", "Part", "Text", "Turn", "Video"]
