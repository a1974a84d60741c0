"""Attachments of each kind, made without decoders, and files of each kind."""

from __future__ import annotations

import io
import math
import struct
import wave

import PIL.Image

from dreamr.conversation import (
    Audio,
    Conversation,
    Document,
    Frame,
    Image,
    Page,
    Text,
    Turn,
    Video,
    VideoFile,
    read_image,
)

RATE = 16_000


def image(shade: int, side: int = 8) -> Image:
    """Return a gray image, as read from a PNG file."""
    return read_image(png(shade, side), name=f"{shade}.png")


def document(*numbers: int, text: str = "", name: str = "bill.pdf") -> Document:
    """Return a document of 12 pages with some of them."""
    pages = tuple(Page(number, image(number), text and f"{text} {number}") for number in numbers)
    return Document(pages, 12, name)


def video(count: int, *, sound: Audio | None = None, file: VideoFile | None = None) -> Video:
    """Return a video with a frame every second."""
    frames = tuple(Frame(float(at), image(100 + at)) for at in range(count))
    return Video(frames, float(count), sound, "clip.mp4", file)


def wav(seconds: float = 0.1, tone: float = 440.0) -> bytes:
    """Return a WAV file with a tone."""
    samples = (
        round(9000 * math.sin(2 * math.pi * tone * at / RATE)) for at in range(int(RATE * seconds))
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def sound(seconds: float = 0.1, name: str | None = "question.wav") -> Audio:
    """Return a tone."""
    return Audio(wav(seconds), seconds, name)


def pdf(*shades: int, side: int = 72) -> bytes:
    """Return a PDF file with a gray page for each shade."""
    first, *rest = [PIL.Image.new("RGB", (side, side), (s, s, s)) for s in shades]
    file = io.BytesIO()
    first.save(file, "PDF", save_all=True, append_images=rest, resolution=72)
    return file.getvalue()


def png(shade: int = 200, side: int = 8) -> bytes:
    """Return a PNG file."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (side, side), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def asked(*parts: object, question: str = "What is shown?") -> Conversation:
    """Return a conversation of one turn: attachments, and then the question."""
    words = (Text(question),) if question else ()
    return Conversation((Turn("user", (*parts, *words)),))  # type: ignore[arg-type]


def kinds(conversation: Conversation) -> list[str]:
    """Return the kinds of the parts of the last turn."""
    return [type(part).__name__ for part in conversation.turns[-1].parts]
