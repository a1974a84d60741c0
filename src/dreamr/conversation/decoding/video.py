"""Frames of a video. Runs in a decoder process only."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
from PIL.Image import Resampling, Transpose

from dreamr.conversation.decoding.container import damaged, decoded, read_packets
from dreamr.conversation.decoding.drawing import as_jpeg, widened
from dreamr.conversation.decoding.frame_plan import (
    Packet,
    Target,
    Timeline,
    at_rate,
    evenly_spaced,
    largest_changes,
)
from dreamr.conversation.decoding.ipc import Piece, Request
from dreamr.conversation.decoding.sound import Sound
from dreamr.conversation.errors import VideoTooManyPixels
from dreamr.conversation.images import MAX_PIXELS
from dreamr.conversation.shrinking import fitting_size

_TURNS = {1: Transpose.ROTATE_90, 2: Transpose.ROTATE_180, 3: Transpose.ROTATE_270}
_MOST_STRETCH = 10  # of pixels that are not square
_CANDIDATES = 4  # for each frame that is chosen by scenes
_MOST_CANDIDATES = 96
_THUMBNAIL = (32, 32)


def scan(container: Any, video: Any, audio: Any, request: Request) -> Timeline:
    """Return the times of all frames, from the packets; nothing is decoded.

    Raises:
        AttachmentError: If there is none, or the sound is too long.
    """
    _check_pixels(video.codec_context.width, video.codec_context.height, request)
    sound = None if audio is None else Sound(audio, request)
    packets: list[Packet] = []
    stamp = 0
    for packet in read_packets(container, *(s for s in (video, audio) if s is not None)):
        if packet.stream_index != video.index:
            if sound is not None:
                sound.check_length(packet)
            continue
        known = packet.pts if packet.pts is not None else packet.dts
        stamp = stamp + max(1, packet.duration or 0) if known is None else known
        packets.append(Packet(stamp, packet.is_keyframe, not packet.is_discard))
    if not packets:
        raise damaged(request)
    return Timeline(packets, float(video.time_base or 1))


def read_video(
    container: Any, video: Any, audio: Any, timeline: Timeline, request: Request
) -> Iterator[Piece]:
    """Yield the chosen frames and the sound of a video, and at last its duration.

    Raises:
        AttachmentError: If no frame can be decoded, or the sound is too long.
    """
    sound = None if audio is None else Sound(audio, request)
    options = request.options
    if options.frames_by == "scenes":
        most = min(_CANDIDATES * options.frames, max(options.frames, _MOST_CANDIDATES))
        indices = evenly_spaced(timeline.times, most)
    elif options.fps is not None:
        indices = at_rate(timeline.times, options.fps, request.shown)
    else:
        indices = evenly_spaced(timeline.times, options.frames)
    targets = timeline.targets(indices, video.codec_context.width * video.codec_context.height)
    drawing = _Drawing(timeline, float(video.sample_aspect_ratio or 1), request)
    frames = _frames(container, video, sound, targets)
    pieces: Iterator[Piece] = (drawing.piece(frame, stamp) for frame, stamp in frames)
    if options.frames_by == "scenes":
        pieces = _by_scenes(pieces, options.frames)
    count = 0
    for piece in pieces:
        count += 1
        yield piece
    if not count:
        raise damaged(request)
    heard = None if sound is None else sound.finish()
    if heard is not None:
        yield heard
    yield {"seconds": timeline.length, "frames": count}, b""


def _frames(
    container: Any, video: Any, sound: Sound | None, targets: Sequence[Target]
) -> Iterator[tuple[Any, int]]:
    """Yield the frames of the targets with their times, and decode no more than they need."""
    search = _Search(video, targets)
    streams = [video] if sound is None else [video, sound.stream]
    for packet in read_packets(container, *streams):
        if packet.stream_index == video.index:
            yield from search.feed(packet)
            if search.is_done and sound is None:
                return
        elif sound is not None:
            sound.add(packet)
    yield from search.finish()


class _Search:
    """Decoding of the packets that some frames need.

    Args:
        stream: The video.
        targets: The frames, in the order of their times.
    """

    def __init__(self, stream: Any, targets: Sequence[Target]) -> None:
        self._stream, self._waiting = stream, deque(targets)
        self._place = -1  # of the packet, in decoding order
        self._fed = -1  # place of the last packet that was decoded
        self._latest: tuple[Any, int] | None = None  # frame that was decoded and not yielded
        stream.codec_context.thread_count = 1  # threads cost memory, and order

    @property
    def is_done(self) -> bool:
        """Whether all frames are found."""
        return not self._waiting

    def feed(self, packet: Any) -> Iterator[tuple[Any, int]]:
        """Take the next packet; yield frames that are found."""
        self._place += 1
        if not self._waiting or self._place < self._waiting[0].begin:
            return
        if 0 <= self._fed < self._place - 1:  # packets were left out
            self._stream.codec_context.flush_buffers()
        self._fed = self._place
        known = packet.pts if packet.pts is not None else packet.dts
        yield from self._found(decoded(self._stream, packet), known)

    def finish(self) -> Iterator[tuple[Any, int]]:
        """Yield the rest at the end of the file: of a frame that is missing, the last before it."""
        if self._waiting and self._fed >= 0:
            yield from self._found(decoded(self._stream, None), None)
            if self._waiting and self._latest is not None:
                yield self._latest

    def _found(self, frames: Sequence[Any], known: int | None) -> Iterator[tuple[Any, int]]:
        for frame in frames:
            stamp = next((s for s in (frame.pts, frame.dts, known) if s is not None), None)
            if stamp is None and self._waiting:
                stamp = self._waiting[0].stamp
            if stamp is None:
                return
            is_wanted = False
            while self._waiting and stamp >= self._waiting[0].stamp:
                self._waiting.popleft()
                is_wanted = True
            if is_wanted:
                yield frame, stamp
            self._latest = None if is_wanted else (frame, stamp)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How frames become images.

    Attributes:
        timeline: The times of the video.
        stretch: Width of a pixel by its height.
        request: What is read.
    """

    timeline: Timeline
    stretch: float
    request: Request

    def piece(self, frame: Any, stamp: int) -> Piece:
        """Return a frame upright, with square pixels and within the number of pixels."""
        _check_pixels(frame.width, frame.height, self.request)
        wide = frame.width
        if 1 / _MOST_STRETCH <= self.stretch <= _MOST_STRETCH:
            wide = max(1, round(frame.width * self.stretch))
        width, height = fitting_size(wide, frame.height, self.request.options.pixels)
        image = frame.to_image(width=width, height=height, interpolation="LANCZOS")
        turn = _TURNS.get(round((frame.rotation or 0) / 90) % 4)
        if turn is not None:
            image = image.transpose(turn)
        return {"time": self.timeline.seconds(stamp)}, as_jpeg(widened(image))


def _by_scenes(pieces: Iterator[Piece], count: int) -> Iterator[Piece]:
    """Yield the frames after the largest changes."""
    candidates = list(pieces)
    chosen = largest_changes([_thumbnail(data) for _, data in candidates], count)
    return (candidates[index] for index in chosen)


def _thumbnail(jpeg: bytes) -> bytes:
    with PIL.Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as opened:
        opened.draft("L", (4 * _THUMBNAIL[0], 4 * _THUMBNAIL[1]))
        return opened.convert("L").resize(_THUMBNAIL, Resampling.BOX).tobytes()


def _check_pixels(width: int, height: int, request: Request) -> None:
    if width * height > MAX_PIXELS:
        raise VideoTooManyPixels(
            f"{request.shown} has frames of {width} x {height} pixels, above the limit of "
            f"{MAX_PIXELS:,}: save it in a smaller size"
        )
