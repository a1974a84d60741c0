"""Immutable, comparable content parts of a conversation.

`Image` holds an image that has been checked; `dreamr.conversation.images` does the reading and
checking.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import astuple, dataclass, field
from typing import Literal, TypeAlias

import PIL.Image

from dreamr.conversation.errors import BadConversation
from dreamr.conversation.silence import is_silent
from dreamr.conversation.tools import Tool, ToolCall

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


ImageFormat: TypeAlias = Literal["RGB", "JPEG", "PNG", "WEBP"]
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Image:
    """A checked, upright RGB image: the bytes of an image file, or pixels.

    Images are equal if they hold the same data.

    Attributes:
        data: The bytes of an image file; with the format RGB, the pixels in row-major order, three
            bytes each.
        width: Width in pixels.
        height: Height in pixels.
        name: File name for messages.
        format: Format of the data.
        lossy: Whether pixels come from a file that was compressed with loss, such as JPEG. They can
            then be compressed in the same way again.
        digest: Digest of the data with its format and size, in hexadecimal digits.

    Raises:
        ValueError: If the number of bytes does not match the size.
    """

    data: bytes = field(repr=False, compare=False)
    width: int = field(compare=False)
    height: int = field(compare=False)
    name: str | None = field(default=None, compare=False)
    format: ImageFormat = field(default="RGB", compare=False)
    lossy: bool = field(default=False, repr=False, compare=False)
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = self.width * self.height * 3
        matches = len(self.data) == size if self.format == "RGB" else len(self.data) > 0
        if min(self.width, self.height) < 1 or not matches:
            raise ValueError(
                f"{len(self.data)} bytes do not match an {self.format} image of {self.width} x "
                f"{self.height} pixels"
            )
        digest = hashlib.blake2b(
            f"{self.format} {self.width} {self.height} ".encode(), digest_size=_DIGEST_BYTES
        )
        digest.update(self.data)
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def pixels(self) -> bytes:
        """RGB bytes in row-major order, height * width * 3 in number; decoded on each access."""
        if self.format == "RGB":
            return self.data
        with PIL.Image.open(io.BytesIO(self.data), formats=[self.format]) as opened:
            return opened.convert("RGB").tobytes()


@dataclass(frozen=True, slots=True)
class Audio:
    """Checked sound: a WAV file with 16-bit samples, 16,000 a second, of one channel.

    Sounds are equal if they hold the same samples.

    Attributes:
        data: The bytes of the WAV file.
        seconds: Its duration.
        name: File name for messages.
        digest: Digest of the data, in hexadecimal digits.
    """

    data: bytes = field(repr=False, compare=False)
    seconds: float = field(compare=False)
    name: str | None = field(default=None, compare=False)
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(self.data, digest_size=_DIGEST_BYTES)
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def is_silent(self) -> bool:
        """Whether nothing can be heard in it: no tenth of a second is louder than -50 dB."""
        return is_silent(self.data)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a document.

    Attributes:
        number: Its number in the document, from 1.
        image: The page as an image.
        text: Its text layer; empty if it has none or is not to be used.
    """

    number: int
    image: Image
    text: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """Pages of a PDF file.

    Attributes:
        pages: The chosen pages, in order.
        count: Number of pages of the whole file.
        name: File name for messages.
    """

    pages: tuple[Page, ...]
    count: int
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a video.

    Attributes:
        seconds: Its time from the start of the video.
        image: The frame, upright.
    """

    seconds: float
    image: Image


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video file as it is, for servers that choose its frames themselves.

    Files are equal if they hold the same bytes.

    Attributes:
        data: The bytes of the file.
        media_type: Its media type, such as `video/mp4`.
        name: File name for messages.
        digest: Digest of the data, in hexadecimal digits.
    """

    data: bytes = field(repr=False, compare=False)
    media_type: str = field(compare=False)
    name: str | None = field(default=None, compare=False)
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(b"video ", digest_size=_DIGEST_BYTES)
        digest.update(self.data)
        object.__setattr__(self, "digest", digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of a video file.

    Attributes:
        frames: The chosen frames, in order.
        seconds: Duration of the video.
        sound: Its sound; None if it has none or it is not to be used.
        name: File name for messages.
        file: The file itself; None unless it is to be sent as it is.
    """

    frames: tuple[Frame, ...]
    seconds: float
    sound: Audio | None = None
    name: str | None = field(default=None, compare=False)
    file: VideoFile | None = None


Attachment: TypeAlias = Image | Audio | Video | Document
Part: TypeAlias = Text | Attachment | VideoFile


TurnRole: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: Who speaks. A turn of role tool holds the result of one call.
        parts: What is said.
        calls: Calls of tools, in an assistant's turn.
        call_id: Id of the call whose result a turn of role tool holds.
        reasoning: Thought before an assistant's turn. The model's chat template decides whether it
            is shown.
    """

    role: TurnRole
    parts: tuple[Part, ...]
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    reasoning: str = ""


def _asks(part: Part) -> bool:
    """Return whether a part of the last turn can be the question."""
    return bool(part.text.strip()) if isinstance(part, Text) else isinstance(part, Audio)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of a conversation; the last one is to be answered.

    Attributes:
        turns: The turns. The last one is the user's, or holds the result of a call.
        tools: Tools that the model may call; they are part of its prompt.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()

    @classmethod
    def from_prompt(
        cls, question: str, *attachments: Attachment, system: str | None = None
    ) -> Conversation:
        """Create a conversation from one question and any number of attachments.

        The attachments precede the text of the question. A question without text is a spoken one:
        one of the attachments must then be sound.

        Raises:
            BadConversation: If the question is not text, or blank without sound, or an attachment
                was not read.
        """
        if not isinstance(question, str):
            kind = "None" if question is None else f"a value of type {type(question).__name__}"
            raise BadConversation(f"the question must be text or a Conversation, not {kind}")
        head = (Turn("system", (Text(system),)),) if system else ()
        spoken = attachments and not question.strip()  # an empty text would only be in the way
        words = () if spoken else (Text(question),)
        asked = cls((*head, Turn("user", (*attachments, *words))))
        asked.check()
        return asked

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, in order; not those of documents and videos (see `flatten`)."""
        return tuple(p for turn in self.turns for p in turn.parts if isinstance(p, Image))

    @property
    def text(self) -> str:
        """Text of the question, which is that of the last turn; empty if it is spoken."""
        texts = (p.text for turn in self.turns[-1:] for p in turn.parts if isinstance(p, Text))
        return "".join(texts)

    @property
    def sounds(self) -> tuple[Audio, ...]:
        """All sounds, in order, also those of videos."""
        sounds = (
            part.sound if isinstance(part, Video) else part
            for turn in self.turns
            for part in turn.parts
        )
        return tuple(sound for sound in sounds if isinstance(sound, Audio))

    @property
    def video_files(self) -> tuple[VideoFile, ...]:
        """All video files that are sent as they are, in order; see `flatten`."""
        return tuple(p for turn in self.turns for p in turn.parts if isinstance(p, VideoFile))

    def check(self) -> None:
        """Check that the turns form a question that engines accept.

        Raises:
            BadConversation: If there is no turn, the last turn is neither a question with text nor
                the result of a call, a part is not one, a text contains unpaired surrogates, which
                have no encoding, or calls, results and tools do not fit together.
        """
        if not self.turns or self.turns[-1].role not in ("user", "tool"):
            raise BadConversation(
                "the last turn must be the user's: end with a question or the result of a call"
            )
        for turn in self.turns:
            for part in turn.parts:
                _check_part(part)
        self._check_calls()
        last = self.turns[-1]
        if last.role == "user" and not any(_asks(part) for part in last.parts):
            raise BadConversation("the question is empty: say what you want to know")

    def _check_calls(self) -> None:
        """Check tools, calls and results."""
        for tool in self.tools:
            tool.check()
            check_half(tool.name, tool.description, tool.parameters)
        if len({tool.name for tool in self.tools}) != len(self.tools):
            raise BadConversation("two tools have the same name: rename one of them")
        known: set[str] = set()
        for turn in self.turns:
            check_half(turn.reasoning, *(text for call in turn.calls for text in astuple(call)))
            if turn.calls and turn.role != "assistant":
                raise BadConversation(f"a turn of role {turn.role} calls tools: only assistants do")
            if turn.role == "tool" and turn.call_id not in known:
                raise BadConversation(
                    f"the result of call {turn.call_id} has no such call before it: send the "
                    "assistant's turn with its calls too"
                )
            known.update(call.id for call in turn.calls)


def _check_part(part: Part) -> None:
    """Check a part of a turn; see `Conversation.check`."""
    if not isinstance(part, Part):
        raise BadConversation(
            f"a value of type {type(part).__name__} is not a part of a conversation: "
            "use Text(...), and read_attachment(...) for a file"
        )
    if isinstance(part, Text) and not isinstance(part.text, str):
        raise BadConversation(
            f"a text of a conversation is of type {type(part.text).__name__}, not str"
        )
    if isinstance(part, Text):
        check_half(part.text)


def check_half(*texts: str) -> None:
    """Check that texts contain no unpaired surrogates; see `Conversation.check`."""
    if any(map(_HALF.search, texts)):
        raise BadConversation(
            "the text contains half of a character (an unpaired surrogate): copy the text again"
        )
