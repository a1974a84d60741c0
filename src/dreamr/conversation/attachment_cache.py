"""Attachments that were read: another question about a file does not decode it again."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

from dreamr.conversation.attachments import AttachmentSource, read_attachment
from dreamr.conversation.errors import PdfError
from dreamr.conversation.files import open_file
from dreamr.conversation.media_options import FIRST_PAGES, MAX_PAGES, MediaOptions
from dreamr.conversation.page_ranges import PageRanges
from dreamr.conversation.parts import Attachment, Audio, Document, Image, Video

_KEPT_BYTES = 64 * 2**20  # of images and sounds
_MOST_BYTES = 64 * 2**20  # of a file whose digest is computed
_DIGEST_BYTES = 16


class AttachmentCache:
    """The latest attachments, up to a number of bytes. Threads may share it.

    Args:
        most: Bytes of their images and sounds. A larger attachment is not kept.
    """

    def __init__(self, most: int = _KEPT_BYTES) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Hashable, tuple[Attachment, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: Hashable, options: Hashable) -> Attachment | None:
        """Return an attachment that is kept, None if it has to be read.

        Pages of a document are kept apart: it is found if all chosen pages were read before.

        Args:
            file: The digest of the file, and its name.
            options: How much of it is read, such as `MediaOptions`.
        """
        key = file, _without_pages(options)
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            found, _ = self._kept[key]
        if isinstance(found, Document) and isinstance(options, MediaOptions):
            return _chosen(found, options)
        return found

    def keep(self, file: Hashable, options: Hashable, attachment: Attachment) -> None:
        """Keep an attachment; see `get`."""
        key = file, _without_pages(options)
        with self._lock:
            before, size_before = self._kept.get(key, (None, 0))
            if isinstance(before, Document) and isinstance(attachment, Document):
                attachment = _merged(before, attachment)
            size = _size(attachment)
            if size > self._most:
                return
            self._kept[key] = attachment, size
            self._kept.move_to_end(key)
            self._size += size - size_before
            while self._size > self._most:
                self._size -= self._kept.popitem(last=False)[1][1]

    def read(
        self, source: AttachmentSource, options: MediaOptions, salt: str | None = None
    ) -> Attachment:
        """Read an attachment as `read_attachment` does, or return it as it was read before.

        A file is the same if its name and its content are. Open files are always read.

        Args:
            source: See `read_attachment`.
            options: How much of a document or video is read.
            salt: Attachments with other salts are read again, so that the time of a call does not
                tell what was read for others.

        Raises:
            AttachmentError: If it cannot be read.
        """
        digest = _digest(source)
        if digest is None:
            return read_attachment(source, options)
        name = Path(os.fsdecode(source)).name if isinstance(source, str | os.PathLike) else None
        file = digest, name, salt
        found = self.get(file, options)
        if found is None:
            found = read_attachment(source, options)
            if _digest(source) == digest:  # else it was written to meanwhile
                self.keep(file, options, found)
        return found


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return the digest of a file's content."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def _digest(source: AttachmentSource) -> str | None:
    """Return the digest of a source, None if it has none or takes long."""
    if isinstance(source, bytes | bytearray | memoryview):
        return digest_of(source) if memoryview(source).nbytes <= _MOST_BYTES else None
    if not isinstance(source, str | os.PathLike):
        return None
    with open_file(Path(os.fsdecode(source))) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            return None
        return digest_of(file.read())


def _size(attachment: Attachment) -> int:
    """Return the bytes of the images, sounds and texts of an attachment."""
    match attachment:
        case Image() | Audio():
            return len(attachment.data)
        case Document(pages=pages):
            return sum(len(page.image.data) + 4 * len(page.text) for page in pages)
        case Video(frames=frames, sound=sound, file=file):
            others = sum(len(part.data) for part in (sound, file) if part is not None)
            return others + sum(len(frame.image.data) for frame in frames)


def _without_pages(options: Hashable) -> Hashable:
    return replace(options, pages="") if isinstance(options, MediaOptions) else options


def _chosen(document: Document, options: MediaOptions) -> Document | None:
    """Return a document with the chosen pages; None if one of them was not read."""
    try:
        numbers = PageRanges.parse(options.pages).within(
            document.count, "the file", first=FIRST_PAGES, most=MAX_PAGES
        )
    except PdfError:  # the reader reports it, with the name of the file
        return None
    pages = {page.number: page for page in document.pages}
    if tuple(pages) == numbers:
        return document
    if not pages.keys() >= set(numbers):
        return None
    return replace(document, pages=tuple(pages[number] for number in numbers))


def _merged(before: Document, document: Document) -> Document:
    """Return a document with the pages of two readings of one file."""
    pages = {page.number: page for page in (*before.pages, *document.pages)}
    return replace(document, pages=tuple(pages[number] for number in sorted(pages)))
