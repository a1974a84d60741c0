"""Files of video and sound. Runs in a decoder process only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from dreamr.conversation.decoding.container import cannot_decode, is_cover, opened
from dreamr.conversation.decoding.ipc import Piece, Request
from dreamr.conversation.decoding.sound import read_sound
from dreamr.conversation.decoding.video import read_video, scan
from dreamr.conversation.errors import NoVideoStream


def read_media(file: IO[bytes], request: Request) -> Iterator[Piece]:
    """Yield the frames and the sound of a video, or the sound of a file without video.

    Raises:
        AttachmentError: If the file cannot be opened, has neither, or cannot be decoded.
    """
    with opened(file, request) as container:
        video, audio = _streams(container, request)
        if video is None:
            yield from read_sound(container, audio, request)
            return
        timeline = scan(container, video, audio, request)
    with opened(file, request) as container:  # from its beginning, which not every file can seek
        video, audio = _streams(container, request)
        yield from read_video(container, video, audio, timeline, request)


def _streams(container: Any, request: Request) -> tuple[Any, Any]:
    """Return the streams of video and sound that are read, None for one that is not."""
    video = next((s for s in container.streams.video if not is_cover(s)), None)
    audio = next(iter(container.streams.audio), None)
    if video is None and audio is None:
        raise NoVideoStream(f"{request.shown} has neither video nor sound in it: pass another file")
    if video is not None and not request.options.sound:
        audio = None
    for stream, what in ((video, "video"), (audio, "sound")):
        if stream is not None and stream.codec_context is None:
            raise cannot_decode(what, request)
    return video, audio
