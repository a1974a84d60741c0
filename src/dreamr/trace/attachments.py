"""The attachments of a problem in the timeline: images, pages, frames with their times, sound."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice

from dreamr.conversation import (
    Audio,
    Conversation,
    Document,
    Frame,
    Image,
    Page,
    Part,
    Video,
    clock,
    thumbnail,
)

_MOST_SOUND = 32 * 2**20  # bytes of a sound in the page: 17 minutes


def attachments_html(conversation: Conversation, transcripts: Sequence[str] = ()) -> str:
    """Return the attachments of all turns as HTML; empty if there are none.

    Args:
        conversation: The problem.
        transcripts: What was heard in each of its sounds, if they were transcribed.
    """
    said = iter(transcripts)
    parts = (part for turn in conversation.turns for part in turn.parts)
    shown = "".join([_part(part, said) for part in parts])
    return f'<div class="media">{shown}</div>' if shown else ""


def _part(part: Part, said: Iterator[str]) -> str:
    match part:
        case Image():
            return _figure(part, part.name or "image")
        case Document():
            return _group(_document(part), map(_page, part.pages))
        case Video():
            frames = _group(_video(part), map(_frame, part.frames))
            return frames + ("" if part.sound is None else _sound(part.sound, part.name, said))
        case Audio():
            return _sound(part, part.name, said)
        case _:
            return ""


def _group(title: str, figures: Iterable[str]) -> str:
    return f'<section><h2>{escape(title)}</h2><div class="sheet">{"".join(figures)}</div></section>'


def _document(document: Document) -> str:
    shown = len(document.pages)
    pages = f"{document.count} page{'s' * (document.count != 1)}"
    part = "" if shown == document.count else f", {shown} shown to the models"
    return f"{document.name or 'document'}: {pages}{part}"


def _video(video: Video) -> str:
    frames = f"{len(video.frames)} frame{'s' * (len(video.frames) != 1)}"
    return f"{video.name or 'video'}: {clock(video.seconds)}, {frames}"


def _page(page: Page) -> str:
    label = f"page {page.number}" + (", with its text" if page.text.strip() else "")
    return _figure(page.image, label)


def _frame(frame: Frame) -> str:
    return _figure(frame.image, clock(frame.seconds))


def _figure(image: Image, label: str) -> str:
    uri = "data:image/png;base64," + b64encode(thumbnail(image)).decode()
    caption = escape(label)
    return f'<figure><img src="{uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _sound(sound: Audio, name: str | None, said: Iterator[str]) -> str:
    caption = escape(f"{name or 'sound'}: {clock(sound.seconds)}")
    heard = "".join(f"<p>{_quoted(text)}</p>" for text in islice(said, 1))
    if len(sound.data) > _MOST_SOUND:
        caption += ", too long to be part of this page"
        return f'<figure class="sound"><figcaption>{caption}</figcaption>{heard}</figure>'
    uri = "data:audio/wav;base64," + b64encode(sound.data).decode()
    return (
        f'<figure class="sound"><figcaption>{caption}</figcaption>'
        f'<audio controls preload="metadata" src="{uri}"></audio>{heard}</figure>'
    )


def _quoted(text: str) -> str:
    return f"“{escape(text)}”" if text else "no speech"
