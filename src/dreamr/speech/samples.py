"""Samples of a sound."""

from __future__ import annotations

import io
import wave

import numpy as np
import numpy.typing as npt

from dreamr.conversation import Audio
from dreamr.errors import EngineError
from dreamr.speech.transcript import sound_name


def samples_of(audio: Audio) -> npt.NDArray[np.int16]:
    """Return the samples of a sound.

    Raises:
        EngineError: If its data is not a WAV file.
    """
    try:
        with wave.open(io.BytesIO(audio.data)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (wave.Error, EOFError, ValueError) as error:
        raise _no_sound(audio) from error


def is_silent(audio: Audio) -> bool:
    """Return whether a sound is silent: models write text for silence that was not spoken.

    Raises:
        EngineError: If its data is not a WAV file.
    """
    try:
        return audio.is_silent
    except (wave.Error, EOFError, ValueError) as error:
        raise _no_sound(audio) from error


def _no_sound(audio: Audio) -> EngineError:
    return EngineError(
        f"{sound_name(audio)} is not a WAV file with 16-bit samples: read it with read_attachment"
    )
