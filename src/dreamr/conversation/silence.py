"""Sound in which nothing can be heard."""

from __future__ import annotations

import io
import wave

_WINDOW = 1600  # samples: a tenth of a second
_WINDOWS = 600  # looked at together
_LOUDNESS = 10 ** (-50 / 20)  # of the largest value: quieter than the noise of a quiet room


def is_silent(wav: bytes) -> bool:
    """Return whether no tenth of a second of a WAV file is louder than -50 dB.

    Args:
        wav: The bytes of the file, with 16-bit samples of one channel.
    """
    import numpy as np  # slow to import, and needed for sound only

    with wave.open(io.BytesIO(wav)) as file:
        while part := file.readframes(_WINDOW * _WINDOWS):
            samples = np.frombuffer(part, np.int16).astype(np.float32) / 2**15
            missing = -len(samples) % _WINDOW
            windows = np.pad(samples, (0, missing)).reshape(-1, _WINDOW)
            if windows.std(axis=1).max() > _LOUDNESS:
                return False
    return True
