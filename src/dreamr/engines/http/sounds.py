"""Sounds in the bodies of requests, encoded once for all requests."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dreamr.conversation import Audio

_KEPT = 16  # sounds


@dataclass(frozen=True, slots=True)
class SoundReference:
    """A sound in a body.

    Attributes:
        audio: The sound.
        head: Text before its file in base64: the beginning of a data URI, or nothing.
    """

    audio: Audio
    head: bytes = b""

    def to_json(self) -> bytes:
        """Return the JSON of the value."""
        return b'"%b%b"' % (self.head, _encoded(self.audio))


def sound_part(audio: Audio, *, url: bool = False) -> dict[str, Any]:
    """Return the content part of a sound.

    Args:
        audio: The sound.
        url: Whether the server takes sounds as data URIs, which is not OpenAI's form.
    """
    if url:
        reference = SoundReference(audio, b"data:audio/wav;base64,")
        return {"type": "audio_url", "audio_url": {"url": reference}}
    return {"type": "input_audio", "input_audio": {"data": SoundReference(audio), "format": "wav"}}


@lru_cache(_KEPT)
def _encoded(audio: Audio) -> bytes:
    return b64encode(audio.data)
