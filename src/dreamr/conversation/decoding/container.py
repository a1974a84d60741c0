"""Containers of video and sound, opened and read to where they are intact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import av
import av.error
import av.stream

from dreamr.conversation.decoding.ipc import Request
from dreamr.conversation.errors import (
    AttachmentError,
    AudioDamaged,
    MissingCodec,
    VideoDamaged,
)

_OF_SOUND = ("wav", "ogg", "flac", "mp3", "aac", "aiff", "amr", "au", "caf")


def opened(file: IO[bytes], request: Request) -> Any:
    """Open a file as the container that its content says.

    Raises:
        AttachmentError: If it is damaged.
    """
    file.seek(0)
    try:
        return av.open(
            file, format=request.container, metadata_errors="replace", io_open=_refuse_to_open
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise damaged(request) from error


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> Any:
    """Open no other file or address that a container names."""
    raise PermissionError(url)


def read_packets(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield the packets of some streams, up to the end of the file or to where it is damaged."""
    try:
        for packet in container.demux(*streams):
            if packet.size:  # the packets that end the streams have no data
                yield packet
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError, ValueError):
        return


def decoded(stream: Any, packet: Any) -> list[Any]:
    """Return the frames of a packet; none if it is damaged. None as the packet: what is left."""
    try:
        return list(stream.codec_context.decode(packet))
    except MemoryError:
        raise
    except (av.error.FFmpegError, OSError, ValueError):
        return []


def is_of_sound(request: Request) -> bool:
    """Return whether the container is one of sound only."""
    return request.container in _OF_SOUND


def damaged(request: Request) -> AttachmentError:
    """Return the error about a file of which nothing can be decoded."""
    kind = AudioDamaged if is_of_sound(request) else VideoDamaged
    return kind(f"{request.shown} is truncated or damaged: copy or save it again")


def cannot_decode(what: str, request: Request) -> MissingCodec:
    """Return the error about a stream whose codec is not available."""
    remedy = "convert it, for example to MP4 with H.264 and AAC"
    if what == "sound" and not is_of_sound(request):
        remedy += ", or read it without sound"
    return MissingCodec(
        f"the {what} of {request.shown} is in a codec that cannot be decoded: {remedy}"
    )


def is_cover(stream: Any) -> bool:
    """Return whether a stream is an image beside sound, such as the cover of an album."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
