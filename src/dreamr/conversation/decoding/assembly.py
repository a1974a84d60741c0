"""Documents, videos and sound from what a decoder process has sent.

The process has read an untrusted file, so that nothing it says is trusted either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dreamr.conversation.decoding.ipc import Piece
from dreamr.conversation.errors import AttachmentError, DecoderCrashed
from dreamr.conversation.images import read_header
from dreamr.conversation.media_options import MAX_PIXELS_READ
from dreamr.conversation.parts import Audio, Document, Frame, Image, Page, Video

_WAV_HEADER = 44  # bytes


def assemble(pieces: Sequence[Piece], shown: str, name: str | None) -> Document | Video | Audio:
    """Return the attachment whose pieces a decoder process has sent, the last one about all.

    Args:
        pieces: The pieces.
        shown: The file in messages.
        name: File name of the attachment.

    Raises:
        DecoderCrashed: If the pieces do not make one.
    """
    try:
        *parts, (about, _) = pieces
        match about:
            case {"count": int(count)}:
                pages = tuple(_page(part, name) for part in parts)
                return Document(pages, count, name)
            case {"seconds": int() | float() as seconds, "frames": int()}:
                frames = tuple(_frame(part, name) for part in parts if "sound" not in part[0])
                sounds = [_sound(part, name) for part in parts if "sound" in part[0]]
                return Video(frames, _time(seconds), sounds[0] if sounds else None, name)
            case _:
                return _sound(parts[0], name)
    except (ValueError, TypeError, LookupError, AttachmentError) as error:
        raise DecoderCrashed(
            f"{shown} made the decoder write what it should not: it is damaged, save it again"
        ) from error


def _page(piece: Piece, name: str | None) -> Page:
    fields, data = piece
    number, text = fields["page"], fields["text"]
    if not (isinstance(number, int) and isinstance(text, str)):
        raise TypeError
    text.encode()  # half of a character raises ValueError
    return Page(number, _image(data, name, "PNG"), text)


def _frame(piece: Piece, name: str | None) -> Frame:
    fields, data = piece
    return Frame(_time(fields["time"]), _image(data, name, "JPEG"))


def _image(data: bytes, name: str | None, format: str) -> Image:
    header = read_header(data, max_pixels=MAX_PIXELS_READ)
    if header.format == "PNG" == format:
        return Image(data, header.width, header.height, name, "PNG")
    if header.format == "JPEG" == format:
        return Image(data, header.width, header.height, name, "JPEG", lossy=True)
    raise ValueError


def _sound(piece: Piece, name: str | None) -> Audio:
    fields, data = piece
    if data[:4] != b"RIFF" or len(data) <= _WAV_HEADER:
        raise ValueError
    return Audio(data, _time(fields["sound"]), name)


def _time(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError
    return float(value)
