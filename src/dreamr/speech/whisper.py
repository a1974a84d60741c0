"""Transcription in this process, by faster-whisper."""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import numpy.typing as npt

from dreamr._messages import describe, one_line, short_path
from dreamr.conversation import Audio
from dreamr.errors import EngineError, ModelNotFound, Unsupported
from dreamr.speech.samples import is_silent, samples_of
from dreamr.speech.transcript import Transcript, sound_name, time_limit, transcript

LOG = logging.getLogger("dreamr.speech")

_MOST_THREADS = 4  # of the processor, as faster-whisper's default
_NEEDED = ("model.bin", "tokenizer.json")  # without a tokenizer, faster-whisper would download one
_RATE, _SCALE = 16_000, 32768.0  # samples a second, and their range


class WhisperTranscriber:
    """A Whisper model, which runs in a worker thread.

    Args:
        location: Size of the model such as 'small', its Hugging Face ID, or its folder.

    Raises:
        ModelNotFound: If it names a folder that does not hold such a model.
        Unsupported: If faster-whisper is not installed.
    """

    def __init__(self, location: str) -> None:
        if find_spec("faster_whisper") is None:
            raise Unsupported(
                "transcribing without a server needs faster-whisper, which is not installed: run "
                "pip install 'dreamr[speech]', or pass the URL of a server as --transcriber"
            )
        self._location = _checked(location)
        self._model: Any = None
        self._loading, self._transcribing = anyio.Lock(), anyio.Lock()

    async def start(self) -> None:
        """Load the model; later calls do nothing."""
        async with self._loading:
            if self._model is None:
                load = partial(_load, self._location)
                self._model = await anyio.to_thread.run_sync(load, abandon_on_cancel=True)

    async def transcribe(self, audio: Audio, *, hotwords: str = "") -> Transcript:
        """Return the words of a sound; see `Transcribing.transcribe`.

        Raises:
            ModelNotFound: If the model does not exist or cannot be loaded.
            EngineError: If transcribing fails or takes too long.
        """
        await self.start()
        seconds, stop = time_limit(audio), threading.Event()
        work = partial(_transcribe, self._model, audio, hotwords, stop)
        async with self._transcribing:  # one at a time, so that the limit is that of its own work
            try:
                with anyio.move_on_after(seconds):
                    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            finally:
                stop.set()  # the thread ends with the part of the sound that it is at
        raise EngineError(
            f"{sound_name(audio)} was not transcribed within {seconds:.0f} s: use a smaller "
            "--transcriber or a shorter recording"
        )

    async def aclose(self) -> None:
        """Free the model; idempotent."""
        self._model = None


def _checked(location: str) -> str:
    """Return the location of a model, a folder as its full path.

    Raises:
        ModelNotFound: If it names a folder that does not hold a model of faster-whisper.
    """
    path = Path(os.path.expanduser(location))
    if not path.exists():
        if location.startswith((".", "/", "~")) or not location.strip():
            raise ModelNotFound(
                f"--transcriber {short_path(location)}: there is no such folder: check the path, "
                "or pass a size such as small"
            )
        return location
    missing = [name for name in _NEEDED if not (path / name).is_file()]
    if missing:
        raise ModelNotFound(
            f"--transcriber {short_path(location)} is not a model of faster-whisper "
            f"({missing[0]} is missing): convert it with ct2-transformers-converter, and copy its "
            "tokenizer.json"
        )
    return str(path.resolve())


def _load(location: str) -> Any:
    """Load a model, and try it.

    Raises:
        ModelNotFound: If it does not exist, or cannot be downloaded, read or run.
    """
    from faster_whisper import WhisperModel

    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    try:
        model = WhisperModel(location, compute_type="auto", cpu_threads=threads)
        if str(model.model.device) == "cuda":
            try:
                _spoken(model, np.zeros(_RATE, np.float32), vad=False)
            except RuntimeError as error:  # CUDA's libraries are loaded at the first use
                LOG.warning("Whisper runs on the CPU, not on CUDA: %s", one_line(error))
                model = WhisperModel(location, "cpu", compute_type="auto", cpu_threads=threads)
    except Exception as error:  # of the hub, the network, files and CTranslate2: no common base
        raise ModelNotFound(
            f"--transcriber {short_path(location)} cannot be loaded ({describe(error)}): pass a "
            "folder, a size such as small, a Hugging Face ID or a server URL"
        ) from error
    return model


def _transcribe(model: Any, audio: Audio, hotwords: str, stop: threading.Event) -> Transcript:
    """Return the words of a sound. Silence is skipped: models would write text for it.

    Raises:
        EngineError: If the model fails.
    """
    if is_silent(audio):
        return transcript("", None, audio)
    samples = samples_of(audio).astype(np.float32) / _SCALE
    try:
        text, language = _spoken(model, samples, hotwords, stop)
    except Exception as error:  # of CTranslate2, onnxruntime and numpy
        raise EngineError(f"{sound_name(audio)} was not transcribed: {describe(error)}") from error
    return transcript(text, language, audio)


def _spoken(
    model: Any,
    samples: npt.NDArray[np.float32],
    hotwords: str = "",
    stop: threading.Event | None = None,
    *,
    vad: bool = True,
) -> tuple[str, str | None]:
    """Return what is spoken, up to where it is stopped, and its language."""
    segments, info = model.transcribe(samples, vad_filter=vad, hotwords=hotwords or None)
    texts = []
    for segment in segments:  # each is computed here
        texts.append(segment.text)
        if stop is not None and stop.is_set():
            break
    return "".join(texts), info.language
