"""Open a transcriber: a model in this process, or a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from dreamr.engines import api_key, is_served
from dreamr.speech.transcript import Transcriber

# Makes a transcriber of its name and of the name of the model at its server.
OpenTranscriber: TypeAlias = Callable[[str, str | None], Transcriber]


def open_transcriber(spec: str, model: str | None = None) -> Transcriber:
    """Return a transcriber. Nothing is loaded or contacted before `Transcriber.start`.

    Args:
        spec: URL of a server with OpenAI's /v1/audio/transcriptions, or a Whisper model for
            faster-whisper: its size such as 'small', its Hugging Face ID, or its folder.
        model: Name of the model at the server. None: its only model.

    Raises:
        ModelNotFound: If the URL cannot be used, or the folder does not hold such a model.
        Unsupported: If faster-whisper is needed and not installed.
        BadOption: If the API key contains characters that a key cannot have.
    """
    if is_served(spec):
        # Imported here because it is slow to import and most programs do not need it.
        from dreamr.speech.served import ServedTranscriber

        return ServedTranscriber(spec, model, api_key("transcriber"))
    from dreamr.speech.whisper import WhisperTranscriber

    return WhisperTranscriber(spec)
