"""Media as servers receive them: images shrunk, as files, in base64; made once and kept."""

from __future__ import annotations

import threading
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.conversation import FILE_FORMATS, Audio, Image, ImageFormat, VideoFile, as_file

_KEPT_BYTES = 128 * 2**20  # of files in base64
_ANYWHERE: tuple[ImageFormat, ...] = ("JPEG", "PNG")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a server takes of an image.

    Attributes:
        pixels: Number of pixels to which larger images are shrunk. None: they keep their size.
        webp: Whether the server reads WebP, which llama.cpp does not.
    """

    pixels: int | None = None
    webp: bool = False


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that is ready to be sent.

    Attributes:
        digest: Digest of the file, by which servers may keep it.
        width: Width of an image in pixels, 0 for others.
        height: Height of an image in pixels, 0 for others.
        media_type: Media type of the file.
        base64: The file in base64.
    """

    digest: str
    width: int
    height: int
    media_type: str
    base64: bytes = field(repr=False)

    @property
    def data_uri(self) -> bytes:
        """The file as a data URI."""
        return b"data:%b;base64,%b" % (self.media_type.encode(), self.base64)

    @property
    def uuid(self) -> bytes:
        """The digest in fewer characters, which every request repeats."""
        return urlsafe_b64encode(bytes.fromhex(self.digest)).rstrip(b"=")


Sendable: TypeAlias = Image | Audio | VideoFile
_Key: TypeAlias = tuple[str, ImageLimits]


class MediaFiles:
    """The latest files, up to a number of bytes. Engines and threads share them.

    Args:
        most: Number of bytes in base64. One file is kept even if it has more.
    """

    def __init__(self, most: int = _KEPT_BYTES) -> None:
        self._most, self._size = most, 0
        self._known: OrderedDict[_Key, MediaFile] = OrderedDict()
        self._making: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, media: Sendable, limits: ImageLimits) -> MediaFile | None:
        """Return a file that is kept, None if it has to be made."""
        key = media.digest, limits
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def of(self, media: Sendable, limits: ImageLimits) -> MediaFile:
        """Return a file, which is made unless it is kept; takes up to a second for a photograph."""
        key = media.digest, limits
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:  # of several threads that need it, one makes it
                found = self.get(media, limits)
                if found is None:
                    found = _file(media, limits)
                    self._keep(key, found)
        finally:
            with self._lock:
                self._making.pop(key, None)
        return found

    def _keep(self, key: _Key, file: MediaFile) -> None:
        with self._lock:
            if (before := self._known.get(key)) is not None:
                self._size -= len(before.base64)
            self._known[key] = file
            self._size += len(file.base64)
            while self._size > self._most and len(self._known) > 1:
                self._size -= len(self._known.popitem(last=False)[1].base64)


def _file(media: Sendable, limits: ImageLimits) -> MediaFile:
    if isinstance(media, Audio):
        return MediaFile(media.digest, 0, 0, "audio/wav", b64encode(media.data))
    if isinstance(media, VideoFile):
        return MediaFile(media.digest, 0, 0, media.media_type, b64encode(media.data))
    small = as_file(media, limits.pixels, FILE_FORMATS if limits.webp else _ANYWHERE)
    media_type = f"image/{small.format.lower()}"
    return MediaFile(small.digest, small.width, small.height, media_type, b64encode(small.data))


FILES = MediaFiles()
