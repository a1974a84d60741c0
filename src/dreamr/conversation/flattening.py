"""Documents and videos as text and images, which every engine takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias, TypeVar

from dreamr.conversation.parts import (
    Audio,
    Conversation,
    Document,
    Image,
    Part,
    Text,
    Turn,
    Video,
    VideoFile,
)

_Value = TypeVar("_Value")
_Flat: TypeAlias = Text | Image | Audio | VideoFile


def flatten(
    conversation: Conversation, *, frames: int | None = None, native_video: bool = False
) -> Conversation:
    """Return a conversation whose parts are texts, images and sounds.

    A document begins with its name. A page becomes its number, its image and its text layer; a
    frame its time and its image. The sound of a video follows its frames.

    Args:
        conversation: The conversation.
        frames: Most frames of a video; of more, evenly spaced ones are kept. None: all.
        native_video: Whether a video whose file was kept becomes that file instead of frames.

    Returns:
        The same object if there is nothing to change.
    """
    if all(map(_is_flat, conversation.turns)):
        return conversation
    turns = (_flat(turn, frames, native_video) for turn in conversation.turns)
    return replace(conversation, turns=tuple(turns))


def _is_flat(turn: Turn) -> bool:
    return all(isinstance(part, _Flat) for part in turn.parts)


def _flat(turn: Turn, frames: int | None, native_video: bool) -> Turn:
    if _is_flat(turn):
        return turn
    return replace(turn, parts=tuple(_merged(_parts(turn.parts, frames, native_video))))


def _parts(parts: tuple[Part, ...], frames: int | None, native_video: bool) -> Iterator[_Flat]:
    for part in parts:
        match part:
            case Document():
                yield from _document(part)
            case Video(file=VideoFile() as file) if native_video:
                yield file
                if part.sound is not None:
                    yield part.sound
            case Video():
                yield from _video(part, frames)
            case _:
                yield part


def _document(document: Document) -> Iterator[Text | Image]:
    if document.name:
        yield Text(f"{document.name}:\n")
    for page in document.pages:
        yield Text(f"Page {page.number}:\n")
        yield page.image
        if page.text.strip():
            yield Text(f"\nText of page {page.number}:\n{page.text.strip()}\n")
    if len(document.pages) < document.count:
        name = f" of {document.name}" if document.name else ""
        yield Text(f"\n{len(document.pages)} of {document.count} pages{name} are shown.\n")


def _video(video: Video, most: int | None) -> Iterator[Text | Image | Audio]:
    for frame in evenly(video.frames, most):
        yield Text(f"{clock(frame.seconds)}:\n")
        yield frame.image
    if video.sound is not None:
        yield video.sound


def evenly(values: tuple[_Value, ...], most: int | None) -> tuple[_Value, ...]:
    """Return at most `most` evenly spaced values, the first and the last among them."""
    if most is None or len(values) <= most:
        return values
    if most <= 1:
        return values[len(values) // 2 : len(values) // 2 + most]
    return tuple(values[round(k * (len(values) - 1) / (most - 1))] for k in range(most))


def clock(seconds: float) -> str:
    """Return a time as text, such as 1:02.5."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest / 10:04.1f}"


def _merged(parts: Iterator[_Flat]) -> Iterator[Part]:
    """Join neighboring texts."""
    pending = ""
    for part in parts:
        if isinstance(part, Text):
            pending += part.text
            continue
        if pending:
            yield Text(pending)
            pending = ""
        yield part
    if pending:
        yield Text(pending)
