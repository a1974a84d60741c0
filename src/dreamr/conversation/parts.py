"""What the user says: frozen, comparable content parts.

Pixels live here as bytes of an already checked picture; reading and bounding them is the
business of `_images`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dreamr.conversation.errors import BadConversation
from dreamr.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A checked, upright RGB picture: `pixels` holds height * width * 3 bytes, row by row.

    The name is for people; two pictures with the same pixels are equal.
    """

    pixels: bytes = field(repr=False)
    width: int
    height: int
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or len(self.pixels) != self.width * self.height * 3:
            raise ValueError(
                f"{len(self.pixels)} bytes are no RGB picture of {self.width} x {self.height}"
            )


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

    @classmethod
    def from_prompt(cls, question: str, *images: Image, system: str | None = None) -> Conversation:
        """One question about any number of pictures, which come before the words.

        Raises:
            BadConversation: the question is blank.
        """
        head = (Turn("system", (Text(system),)),) if system else ()
        asked = cls((*head, Turn("user", (*images, Text(question)))))
        asked.check()
        return asked

    @property
    def images(self) -> tuple[Image, ...]:
        """All pictures, in order."""
        return tuple(p for turn in self.turns for p in turn.parts if isinstance(p, Image))

    def check(self) -> None:
        """See that the turns form a question which engines can take.

        Raises:
            BadConversation: no turn, the last is not the user's, or it has no words.
            Unsupported: a part that no engine takes yet (audio, video, documents).
        """
        if not self.turns or self.turns[-1].role != "user":
            raise BadConversation("the last turn must be the user's: end with a question")
        for turn in self.turns:
            for part in turn.parts:
                if not isinstance(part, Text | Image):
                    kind = type(part).__name__.lower()
                    raise Unsupported(
                        f"{kind} parts are not supported yet ({part.path}): send text and pictures"
                    )
        if not any(isinstance(p, Text) and p.text.strip() for p in self.turns[-1].parts):
            raise BadConversation("the question is empty: say what you want to know")
