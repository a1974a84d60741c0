"""The sound with which servers are tried."""

from __future__ import annotations

import io
import math
import wave
from array import array
from functools import cache

from dreamr._families import recognize
from dreamr.conversation import Audio, Conversation
from dreamr.engines.http.ability_check import Sample
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.rendering import QUESTION
from dreamr.engines.http.servers import VLLM

_RATE, _LOUDNESS, _PITCH = 16_000, 1000, 440.0  # of one second of a quiet tone


@cache
def heard_conversation() -> Conversation:
    """Return a conversation about a sound."""
    wave_length = _RATE / _PITCH
    samples = (_LOUDNESS * math.sin(2 * math.pi * n / wave_length) for n in range(_RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE)
        writer.writeframes(array("h", map(round, samples)).tobytes())
    return Conversation.from_prompt(QUESTION, Audio(file.getvalue(), 1.0))


def _hint(info: ServerInfo) -> str:
    """Return what to do about a server that refuses sound for a model that hears."""
    if not recognize(info.model).hears:
        return ""
    option = "--limit-mm-per-prompt audio=1" if info.server is VLLM else "its audio encoder"
    return f"; models of this family hear: start the server with {option}"


HEARING = Sample("hearing", "sound", lambda talk: bool(talk.sounds), heard_conversation, _hint)
