"""Transcription by a server with OpenAI's /v1/audio/transcriptions."""

from __future__ import annotations

import anyio
import anyio.to_thread
import httpx2

from dreamr._api_keys import TRANSCRIBER_KEY
from dreamr._messages import one_line
from dreamr.conversation import Audio
from dreamr.engines.http.client import Client
from dreamr.engines.http.fields import Field
from dreamr.engines.http.models import read_models
from dreamr.engines.http.options import HttpOptions
from dreamr.errors import EngineError, EngineLost, ModelNotFound
from dreamr.speech.samples import is_silent
from dreamr.speech.transcript import Transcript, sound_name, time_limit, transcript

_PATH = "/audio/transcriptions"
_USUAL = "whisper-1"  # OpenAI's name, which servers without a list of models accept


class ServedTranscriber:
    """A model at a server.

    Args:
        url: Base URL of the server.
        model: Name of the model. None: its only model, or the only one named after Whisper.
        api_key: Sent as a bearer token.
        transport: Replaces the network in tests.

    Raises:
        ModelNotFound: If the URL cannot be used.
        BadOption: If the API key contains characters that a key cannot have.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._options = HttpOptions(url, model, api_key)
        self._client = Client(self._options, transport, keys=TRANSCRIBER_KEY)
        self._model: str | None = None
        self._starting = anyio.Lock()

    async def start(self) -> None:
        """Find the model; later calls do nothing."""
        async with self._starting:
            if self._model is None:
                self._model = await self._found()

    async def _found(self) -> str:
        """Return the name of the model."""
        url, wanted = f"{self._options.base}/models", self._options.model
        try:
            names = sorted(read_models(await self._client.get(url), url))
        except EngineLost:
            raise
        except EngineError:  # many servers of transcriptions have no list
            return wanted or _USUAL
        if wanted is not None:
            if names and wanted not in names:
                served = one_line(", ".join(names))
                raise ModelNotFound(
                    f"{url} has no model {wanted!r}: set --transcriber-model to one of {served}"
                )
            return wanted
        likely = [name for name in names if "whisper" in name.lower()]
        for some in (names, likely):
            if len(some) == 1:
                return some[0]
        if not names:
            return _USUAL
        raise ModelNotFound(
            f"{self._options.base} serves several models: set --transcriber-model to one of "
            f"{one_line(', '.join(names))}"
        )

    async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
        """Return the words of a sound; see `Transcribing.transcribe`.

        Raises:
            ModelNotFound: If the server does not have the model, or has several and none is chosen.
            EngineLost: If the server cannot be reached or denies access.
            EngineError: If the server does not transcribe the sound, its response cannot be read,
                or it takes too long.
        """
        if await anyio.to_thread.run_sync(is_silent, audio):
            return transcript("", None, audio)
        await self.start()
        assert self._model is not None
        fields = {"model": self._model, "response_format": "json"}
        if hotwords:
            fields["prompt"] = hotwords
        url, seconds = f"{self._options.base}{_PATH}", time_limit(audio)
        with anyio.move_on_after(seconds):
            try:
                answer = await self._client.post_file(
                    url, fields, ("audio.wav", audio.data, "audio/wav"), seconds
                )
            except (EngineLost, ModelNotFound):
                raise
            except EngineError as error:
                raise EngineError(f"{sound_name(audio)} was not transcribed: {error}") from error
            found = Field(answer, url)
            if (text := found.get("text")).value is None:
                raise text.unreadable("text")
            language = found.get("language").value
            return transcript(text.text(), language if isinstance(language, str) else None, audio)
        raise EngineError(
            f"{sound_name(audio)} was not transcribed by {url} within {seconds:.0f} s: use a "
            "faster model or a shorter recording"
        )

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        await self._client.aclose()
