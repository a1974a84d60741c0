"""Sound as 16-bit samples, 16,000 a second, of one channel. Runs in a decoder process only."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from typing import Any

import av
import av.error

from dreamr.conversation.decoding.container import (
    damaged,
    decoded,
    is_of_sound,
    read_packets,
)
from dreamr.conversation.decoding.ipc import Piece, Request
from dreamr.conversation.errors import AudioEmpty, AudioTooLong
from dreamr.conversation.media_options import MAX_SECONDS

RATE = 16_000  # samples a second
_BYTES = 2  # of a sample


def read_sound(container: Any, stream: Any, request: Request) -> Iterator[Piece]:
    """Yield the sound of a file.

    Raises:
        AudioError: If it is too long, too short or damaged.
        VideoDamaged: If it is damaged and in a container of videos.
    """
    sound = Sound(stream, request)
    for packet in read_packets(container, stream):
        sound.add(packet)
    piece = sound.finish()
    if piece is None:
        if sound.has_packets:
            raise damaged(request)
        raise AudioEmpty(f"{request.shown} has no sound in it: record it again")
    yield piece
    yield {"sound": piece[0]["sound"]}, b""


class Sound:
    """Samples of a stream, collected from its packets.

    Args:
        stream: The stream.
        request: What is read.
    """

    def __init__(self, stream: Any, request: Request) -> None:
        self.stream, self._request = stream, request
        self._samples = bytearray()
        self._resampler = _resampler()
        self._first: float | None = None  # time of the first packet
        self.has_packets = False
        stream.codec_context.thread_count = 1

    def add(self, packet: Any) -> None:
        """Decode a packet.

        Raises:
            AudioTooLong: If the sound exceeds the limit.
        """
        self.check_length(packet)
        self.has_packets = True
        for frame in decoded(self.stream, packet):
            self._append(frame)

    def check_length(self, packet: Any) -> None:
        """Check the time of a packet, which costs no decoding.

        Raises:
            AudioTooLong: If it is beyond the limit.
        """
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not packet.time_base:
            return
        time = float(stamp * packet.time_base)
        self._first = time if self._first is None else self._first
        if time - self._first > MAX_SECONDS:
            self._refuse()

    def finish(self) -> Piece | None:
        """Return the sound as a WAV file; None if there is none."""
        for frame in decoded(self.stream, None):
            self._append(frame)
        self._resample(None)
        if not self._samples:
            return None
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(_BYTES)
            wav.setframerate(RATE)
            wav.writeframes(self._samples)
        seconds = len(self._samples) / _BYTES / RATE
        return {"sound": seconds}, file.getvalue()

    def _append(self, frame: Any) -> None:
        frame.pts = None  # gaps and jumps of times are not part of the sound
        try:
            self._resample(frame)
        except ValueError:  # the format of the samples has changed
            self._resample(None)
            self._resampler = _resampler()
            self._resample(frame)

    def _resample(self, frame: Any) -> None:
        try:
            for found in self._resampler.resample(frame):
                self._samples += bytes(found.planes[0])[: found.samples * _BYTES]
        except MemoryError:
            raise
        except av.error.FFmpegError:  # a frame that is not one, or nothing left
            return
        if len(self._samples) > MAX_SECONDS * RATE * _BYTES:
            self._refuse()

    def _refuse(self) -> None:
        limit = f"{MAX_SECONDS // 60} minutes"
        if is_of_sound(self._request):
            raise AudioTooLong(f"{self._request.shown} lasts longer than {limit}: cut it")
        raise AudioTooLong(
            f"the sound of {self._request.shown} lasts longer than {limit}: cut it, or read it "
            "without sound"
        )


def _resampler() -> Any:
    return av.AudioResampler(format="s16", layout="mono", rate=RATE)
