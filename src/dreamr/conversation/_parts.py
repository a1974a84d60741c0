"""What the user says: frozen, comparable content parts.

Pixels live here as bytes of an already checked picture; reading and bounding them is the
business of `_images`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A checked, upright RGB picture: `pixels` holds height * width * 3 bytes, row by row."""

    pixels: bytes
    width: int
    height: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound file. No engine takes it yet: using one raises `Unsupported`."""

    path: str


@dataclass(frozen=True, slots=True)
class Video:
    """A video file. No engine takes it yet: using one raises `Unsupported`."""

    path: str


@dataclass(frozen=True, slots=True)
class Document:
    """A paged document. No engine takes it yet: using one raises `Unsupported`."""

    path: str


Part: TypeAlias = Text | Image | Audio | Video | Document


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns up to the one that is to be answered; the last is the user's."""

    turns: tuple[Turn, ...]
