"""The kind of an attachment, decided by the first bytes of the file and never by its name.

Containers of video and sound are named as FFmpeg names their demuxers. Only these are opened: other
demuxers read playlists, and with them files that are not the attachment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreamr.conversation.errors import NotAnAttachment

HEAD = 4096  # bytes that decide the kind
_PDF_WITHIN = 1024  # bytes in which the mark of a PDF file may begin
_TS_PACKET = 188  # bytes

ACCEPTED = (
    "images (PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF), PDF, video (MP4, MOV, WebM, MKV, AVI, MPEG, "
    "WMV, FLV) and sound (WAV, MP3, M4A, OGG, FLAC, AAC, AIFF, AMR, WMA)"
)

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_CONTAINERS = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"#!AMR", "amr"),
    (b".snd", "au"),
    (b"caff", "caf"),
)
_RIFF = {b"WAVE": "wav", b"AVI ": "avi"}
_VIDEO_TYPES = {  # media types of containers
    "matroska": "video/x-matroska", "ogg": "video/ogg", "flv": "video/x-flv",
    "asf": "video/x-ms-wmv", "mpeg": "video/mpeg", "mpegts": "video/mp2t", "avi": "video/x-msvideo",
}  # fmt: skip
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # of MP4 and QuickTime


@dataclass(frozen=True, slots=True)
class AttachmentKind:
    """The kind of a file.

    Attributes:
        name: What reads it.
        container: FFmpeg's name of the container; empty for images and PDF.
    """

    name: Literal["image", "pdf", "media"]
    container: str = ""

    @property
    def media_type(self) -> str:
        """Media type of a video in this container."""
        return _VIDEO_TYPES.get(self.container, "video/mp4")


def kind_of(head: bytes, shown: str) -> AttachmentKind:
    """Return the kind of a file by its first `HEAD` bytes.

    Args:
        head: The bytes.
        shown: The file in messages.

    Raises:
        NotAnAttachment: If it is of another kind.
    """
    is_text = _is_text(head)  # some marks are words, such as "free" and "BM"
    if not is_text and (kind := _marked(head)) is not None:
        return kind
    if b"%PDF-" in head[:_PDF_WITHIN]:
        return AttachmentKind("pdf")
    if is_text:
        raise NotAnAttachment(
            f"{shown} is text, which is not attached: put the text into the question; "
            f"accepted are {ACCEPTED}"
        )
    raise NotAnAttachment(f"{shown} is not of a known kind: accepted are {ACCEPTED}")


def _marked(head: bytes) -> AttachmentKind | None:
    """Return the kind of an image, video or sound by the mark of its format."""
    if head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return AttachmentKind("image")
    if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
        return AttachmentKind("image")
    container = _container(head)
    return AttachmentKind("media", container) if container else None


def _container(head: bytes) -> str:
    for mark, name in _CONTAINERS:
        if head.startswith(mark):
            return name
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12], "")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in _ATOMS:
        return "mov"
    if head[:1] == b"\x47" and head[_TS_PACKET : _TS_PACKET + 1] == b"\x47":
        return "mpegts"
    return _bare_stream(head)


def _bare_stream(head: bytes) -> str:
    """Return the container of MPEG sound without one, which begins with eleven set bits."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return ""
    layer, version = head[1] >> 1 & 3, head[1] >> 3 & 3
    if layer == 0:
        return "aac" if head[1] & 0xF0 == 0xF0 else ""
    is_frame = version != 1 and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3
    return "mp3" if is_frame else ""


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-4].decode("utf-8") if len(head) == HEAD else head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\r\t\f\ufeff" for character in text)
