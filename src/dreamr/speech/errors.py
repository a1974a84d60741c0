"""Errors about spoken input."""

from __future__ import annotations

from dreamr.errors import ConversationError


class NoSpeech(ConversationError):
    """The recording of a spoken question contains no speech: record it again, or type it."""
