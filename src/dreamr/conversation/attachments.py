"""Read an attachment of any kind: an image, a PDF file, a video or sound.

PDF files, videos and sound are decoded in other processes; see `dreamr.conversation.decoding`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, TypeAlias

import anyio
import anyio.to_thread
import PIL.Image
from anyio.lowlevel import RunVar

from dreamr._messages import short_path
from dreamr.conversation.decoding.assembly import assemble
from dreamr.conversation.decoding.ipc import Request
from dreamr.conversation.decoding.pool import Reading
from dreamr.conversation.errors import AttachmentEmpty, AttachmentTooLarge, NotAnAttachment
from dreamr.conversation.files import open_file
from dreamr.conversation.images import MAX_BYTES, MAX_PIXELS, read_image
from dreamr.conversation.isolated import read_image_isolated
from dreamr.conversation.kinds import HEAD, AttachmentKind, kind_of
from dreamr.conversation.media_options import MediaOptions
from dreamr.conversation.parts import Attachment, Audio, Document, Image, Video, VideoFile
from dreamr.conversation.sources import TAKEN, ImageSource, read_file_object

AttachmentSource: TypeAlias = ImageSource | Attachment

MAX_MEDIA_BYTES = 2**31  # of a video or sound on disk; other files as `MAX_BYTES`
MAX_SENT_BYTES = 2**26  # of a video file that is sent as it is
_THREADS = 64  # that wait for decoders in an event loop
_DEFAULTS = MediaOptions()
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("_limiter")


def read_attachment(
    source: AttachmentSource, options: MediaOptions = _DEFAULTS, *, name: str | None = None
) -> Attachment:
    """Read an image, a PDF file, a video or sound.

    The content decides the kind, never the name. PDF files, videos and sound are decoded in another
    process, within 1 GB of memory, 10 s of processor time and a minute.

    Args:
        source: A path (str or PathLike), the bytes of a file, a file opened in binary mode, which
            is read to its end, or what `read_image` takes. An attachment is returned as it is.
        options: How much of a document or video is read.
        name: File name, also for messages. None: that of the path.

    Raises:
        AttachmentError: If it cannot be read; the subclasses tell the reasons apart.
    """
    if isinstance(source, Image | Audio | Video | Document):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_path(Path(os.fsdecode(source)), options, name)
    if isinstance(source, PIL.Image.Image) or hasattr(source, "__array__"):
        return read_image(source, fit=options.max_pixels, name=name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_bytes(bytes(source), options, name)
    if callable(getattr(source, "read", None)):
        return _read_bytes(read_file_object(source, MAX_BYTES), options, name)
    kind = "None" if source is None else f"a value of type {type(source).__name__}"
    raise NotAnAttachment(f"cannot attach {kind}: pass {TAKEN}")


async def read_attachment_isolated(
    data: bytes, options: MediaOptions = _DEFAULTS, *, name: str | None = None
) -> Attachment:
    """Read an attachment without blocking the event loop, an image too in another process.

    A canceled call ends the process that decodes the file.

    Args:
        data: The bytes of the file.
        options: How much of a document or video is read.
        name: File name, also for messages.

    Raises:
        AttachmentError: As `read_attachment`.
    """
    kind = _kind(data[:HEAD], len(data), _shown(name))
    if kind.name == "image":
        image = await read_image_isolated(data, max_pixels=MAX_PIXELS, fit=options.max_pixels)
        return image if name is None else replace(image, name=name)
    reading = Reading()
    try:
        return await anyio.to_thread.run_sync(
            lambda: _decode_bytes(data, kind, options, name, reading),
            abandon_on_cancel=True,
            limiter=_threads(),
        )
    except anyio.get_cancelled_exc_class():
        reading.cancel()
        raise


def _threads() -> anyio.CapacityLimiter:
    """Return the limiter of this event loop, so that other work does not wait for decoders."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_THREADS)
        _limiter.set(limiter)
        return limiter


def _shown(name: str | None) -> str:
    return short_path(name) if name else "the file"


def _read_path(path: Path, options: MediaOptions, name: str | None) -> Attachment:
    shown, name = short_path(path), name or path.name
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        kind = _kind(file.read(HEAD), size, shown)
        if kind.name == "image":
            return read_image(path, fit=options.max_pixels, name=name)
        return _decode(file, kind, options, shown, name, Reading())


def _read_bytes(data: bytes, options: MediaOptions, name: str | None) -> Attachment:
    kind = _kind(data[:HEAD], len(data), _shown(name))
    if kind.name == "image":
        return read_image(data, fit=options.max_pixels, name=name)
    return _decode_bytes(data, kind, options, name, Reading())


def _kind(head: bytes, size: int, shown: str) -> AttachmentKind:
    if not head:
        raise AttachmentEmpty(f"{shown} is empty: pass a file with content")
    kind = kind_of(head, shown)
    most = MAX_MEDIA_BYTES if kind.name == "media" else MAX_BYTES
    if size > most:
        raise AttachmentTooLarge(
            f"{shown} has {size:,} bytes, more than {most:,}: save a smaller copy"
        )
    return kind


def _decode_bytes(
    data: bytes, kind: AttachmentKind, options: MediaOptions, name: str | None, reading: Reading
) -> Attachment:
    with _in_memory(data) as file:
        return _decode(file, kind, options, _shown(name), name, reading)


def _decode(
    file: BufferedReader | IO[bytes],
    kind: AttachmentKind,
    options: MediaOptions,
    shown: str,
    name: str | None,
    reading: Reading,
) -> Attachment:
    request = Request(kind.name, kind.container, shown, options)
    found = assemble(reading.result(request, file.fileno()), shown, name)
    if options.keep_file and isinstance(found, Video):
        return replace(found, file=_video_file(file, kind, shown, name))
    return found


def _video_file(
    file: BufferedReader | IO[bytes], kind: AttachmentKind, shown: str, name: str | None
) -> VideoFile:
    file.seek(0)
    data = file.read(MAX_SENT_BYTES + 1)
    if len(data) > MAX_SENT_BYTES:
        raise AttachmentTooLarge(
            f"{shown} has more than {MAX_SENT_BYTES:,} bytes, too many to be sent as it is: save a "
            "smaller copy, or leave out --native-video"
        )
    return VideoFile(data, kind.media_type, name)


@contextmanager
def _in_memory(data: bytes) -> Iterator[IO[Any]]:
    """Make a file of bytes that another process can read."""
    with (
        os.fdopen(os.memfd_create("attachment"), "w+b")
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile()
    ) as file:
        file.write(data)
        file.flush()
        yield file
