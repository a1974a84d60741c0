"""What a transcriber is, and what it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from dreamr.conversation import Audio

# Notes in place of speech, such as [BLANK_AUDIO] of whisper.cpp, "(music)" and "♪".
_NOTES = re.compile(r"(?:\[[^\]]*\]|\([^)]*\)|[♪♫.\s])+")
_SHORTEST_LIMIT, _TIMES = 120.0, 5.0  # seconds, and times the duration of the sound


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a sound.

    Attributes:
        text: The words, without white space around them; empty if there is no speech.
        language: Language code such as 'en', None if unknown.
        seconds: Duration of the sound.
    """

    text: str
    language: str | None
    seconds: float


class Transcribing(Protocol):
    """What turns speech into text."""

    async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
        """Return the words of a sound. May be called concurrently.

        Args:
            audio: The sound.
            hotwords: Words that are likely in it, such as names.

        Raises:
            ModelNotFound: If there is no such model.
            Unsupported: If a package is missing, or the server does not transcribe.
            EngineLost: If the server cannot be reached or denies access.
            EngineError: If transcribing fails or takes too long.
        """
        ...


class Transcriber(Transcribing, Protocol):
    """A transcriber that is started and closed."""

    async def start(self) -> None:
        """Load the model or contact the server, so that errors show early; idempotent.

        Raises:
            DreamrError: The errors of `transcribe`.
        """
        ...

    async def aclose(self) -> None:
        """Free the model or the connections; idempotent."""
        ...


def transcript(text: str, language: str | None, audio: Audio) -> Transcript:
    """Return the transcript of a sound, without notes in place of speech.

    Args:
        text: Text from the model.
        language: Its language, if known.
        audio: The sound.
    """
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return Transcript("" if _NOTES.fullmatch(text) else text, language, audio.seconds)


def time_limit(audio: Audio) -> float:
    """Return the seconds that transcribing a sound may take."""
    return _SHORTEST_LIMIT + _TIMES * audio.seconds


def sound_name(audio: Audio) -> str:
    """Return the name of a sound for messages."""
    return audio.name or "the recording"
