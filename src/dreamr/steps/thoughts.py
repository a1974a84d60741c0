"""Thoughts of reasoning models: where they begin and end in a text.

This is the only place that knows the tags. A thought begins with an opening tag, or with the
assistant's turn if the chat template writes the tag. It ends with a closing tag, of any family:

- Outside a thought, a closing tag ends what was written since the beginning of the turn, if it is
  the first tag: the template opened the thought, and the server does not show the template.
- Thoughts can be nested: if two tags open a thought, the text between the two that close it belongs
  to it. If only one closes it, the second one to open it was a mention.
- An opening tag in quotation marks is a mention.
- A thought that is never closed extends to the end of the text.

The answer is in the last text outside a thought (`conclusion`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

TagKind: TypeAlias = Literal["open", "close", "other"]

# Tags that open and close a thought, and models that write them.
TAGS = (
    ("<think>", "</think>"),  # DeepSeek, Qwen, GLM; also stands for what servers have parsed
    ("<thinking>", "</thinking>"),  # models prompted to think
    ("<thought>", "</thought>"),  # EXAONE
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
)
# Special tokens around thoughts and answers. They mean nothing to readers.
_OTHER = (
    "<|start|>assistant", "<|end|>", "<|return|>",  # gpt-oss
    "<|begin_of_solution|>", "<|end_of_solution|>",  # Sky-T1
    "<|begin_of_box|>", "<|end_of_box|>",  # GLM-4.5V
)  # fmt: skip
THINK, THOUGHT = TAGS[0]

_KINDS: dict[str, TagKind] = {
    **{opening.lower(): "open" for opening, _ in TAGS},
    **{closing.lower(): "close" for _, closing in TAGS},
    **dict.fromkeys(_OTHER, "other"),
}
_CLOSING = {opening.lower(): closing for opening, closing in TAGS}
_TAG = re.compile("|".join(map(re.escape, _KINDS)), re.IGNORECASE | re.ASCII)
_BEGINNINGS = frozenset(tag[:length] for tag in _KINDS for length in range(1, len(tag)))
_FIRST = re.compile("[" + re.escape("".join(sorted({tag[0] for tag in _KINDS}))) + "]")
_LONGEST = max(map(len, _KINDS))
_QUOTES = ("`", "'", '"')


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag in a text.

    Attributes:
        kind: Whether it opens or closes a thought, or neither.
        text: The tag as it was written.
    """

    kind: TagKind
    text: str


class TagScanner:
    """Finds the tags of a text that arrives in chunks; a tag can extend over several."""

    def __init__(self) -> None:
        self._held = ""  # end of the text that can be the beginning of a tag
        self._last = ""  # character before it

    def push(self, text: str) -> list[str | Tag]:
        """Add a chunk, and return the pieces of text and tags that are complete."""
        if not self._held and not _FIRST.search(text):  # fast path: nearly every chunk
            self._last = text[-1:] or self._last
            return [text] if text else []
        text = self._held + text
        pieces: list[str | Tag] = []
        start = 0
        for found in _TAG.finditer(text):
            self._add(pieces, text[start : found.start()])
            pieces.append(Tag(self._kind(found[0]), found[0]))
            self._last = found[0][-1]
            start = found.end()
        held = _beginning(text, start)
        self._add(pieces, text[start:held])
        self._held = text[held:]
        return pieces

    def close(self) -> str:
        """End the text, and return the rest that turned out not to be a tag."""
        held, self._held = self._held, ""
        return held

    @property
    def held(self) -> str:
        """End of the text that can be the beginning of a tag."""
        return self._held

    def _add(self, pieces: list[str | Tag], text: str) -> None:
        if text:
            pieces.append(text)
            self._last = text[-1]

    def _kind(self, tag: str) -> TagKind:
        kind = _KINDS[tag.lower()]
        return "other" if kind == "open" and self._last in _QUOTES else kind


def _beginning(text: str, start: int) -> int:
    """Return where a tag begins that the end of the text does not complete, at the latest."""
    for place in range(max(start, len(text) - _LONGEST + 1), len(text)):
        if text[place:].lower() in _BEGINNINGS:
            return place
    return len(text)


class Thoughts:
    """Follows the assistant's text: whether it is inside a thought, and what it says outside.

    The result depends on the text only, not on how it was divided into chunks.

    Attributes:
        inside: Whether the text ends inside a thought.
    """

    def __init__(self, *, opened: bool = False) -> None:
        """Begin a text.

        Args:
            opened: Whether the chat template opens a thought.
        """
        self.inside = opened
        self._depth = int(opened)  # tags that open a thought minus those that close it
        self._opening = ""  # the last tag that opened a thought
        self._seen = opened
        self._scanner = TagScanner()
        self._length = 0  # characters of the text that were scanned
        self._part: list[str] = []  # text outside since the last tag
        self._earlier = ""  # last text outside before it that is not blank

    def push(self, text: str) -> list[tuple[int, bool]]:
        """Add a chunk.

        Returns:
            For each tag that opens or closes a thought: where it ends, in characters from the
            beginning of the text, and whether the text after it is inside a thought.
        """
        tags = []
        for piece in self._scanner.push(text):
            if isinstance(piece, str):
                self._length += len(piece)
                self._say(piece)
                continue
            self._length += len(piece.text)
            match piece.kind:
                case "open":
                    self._open(piece.text)
                case "close":
                    self._close()
                case "other":
                    self._say(piece.text)
                    continue
            tags.append((self._length, self.inside))
        return tags

    @property
    def conclusion(self) -> str:
        """The last text outside a thought that is not blank, without tags; it has the answer."""
        held = "" if self.inside else self._scanner.held
        return self._current(held) or self._earlier

    @property
    def closing_tag(self) -> str:
        """Tag that closes the open thought; `</think>` if the chat template opened it."""
        return _CLOSING.get(self._opening.lower(), THOUGHT)

    @property
    def unanswered(self) -> bool:
        """Whether the text ends inside a thought, or consists of thoughts alone."""
        return self.inside or (self._seen and not self.conclusion)

    def _say(self, text: str) -> None:
        if not self.inside:
            self._part.append(text)

    def _open(self, tag: str) -> None:
        self._keep()
        self._opening = tag
        self._depth += 1
        self._seen = self.inside = True

    def _close(self) -> None:
        if not self.inside and self._depth:  # nested
            self._part.clear()
        if not self._seen:  # the template opened it
            self._part.clear()
        self._keep()
        self._depth = max(0, self._depth - 1)
        self._seen, self.inside = True, False

    def _keep(self) -> None:
        self._earlier = self._current() or self._earlier
        self._part.clear()

    def _current(self, held: str = "") -> str:
        if not self._part and not held:
            return ""
        text = without_tags("".join(self._part) + held)
        return text if text.strip() else ""


def conclusion(text: str, *, opened: bool = False) -> str:
    """Return the last text outside a thought that is not blank, without tags.

    It has the answer. Empty if there are only thoughts.

    Args:
        text: The assistant's text.
        opened: Whether the chat template opens a thought.
    """
    thoughts = Thoughts(opened=opened)
    thoughts.push(text)
    return thoughts.conclusion


def ends_inside(text: str, *, opened: bool = False) -> bool:
    """Check whether a text ends inside a thought."""
    thoughts = Thoughts(opened=opened)
    thoughts.push(text)
    return thoughts.inside


def opens_thought(prompt: str) -> bool:
    """Check whether a chat template opens a thought: a rendered prompt ends with its tag."""
    *_, last = "", *TagScanner().push(prompt.rstrip())
    return isinstance(last, Tag) and last.kind == "open"


class TagFilter:
    """Removes the tags from a text that arrives in chunks.

    A blank line takes the place of a tag that opens or closes a thought.
    """

    def __init__(self) -> None:
        self._scanner = TagScanner()
        self._removed: TagKind | None = None  # kind of the tag before the next text
        self._end = ""  # last characters shown, as many as a tag has

    def push(self, text: str) -> str:
        """Add a chunk, and return the text to show for it; the end may be held back."""
        return "".join(self._shown(piece) for piece in self._scanner.push(text))

    def close(self) -> str:
        """End the text, and return what was held back."""
        return self._shown(self._scanner.close())

    def _shown(self, piece: str | Tag) -> str:
        if isinstance(piece, Tag):
            if self._removed in (None, "other"):
                self._removed = piece.kind
            return ""
        if self._removed is not None:
            piece = self._after_tag(piece)
        self._end = (self._end + piece)[-_LONGEST:]
        return piece

    def _after_tag(self, piece: str) -> str:
        if self._removed == "other":
            # What is joined here must not read as a tag.
            joined = _beginning(self._end, 0) < len(self._end)
            piece = f"\n\n{piece}" if joined and piece else piece
        else:
            piece = piece.lstrip()
            piece = self._blank_line() + piece if piece else ""
        if piece:
            self._removed = None
        return piece

    def _blank_line(self) -> str:
        if not self._end or self._end.endswith("\n\n"):
            return ""
        return "\n" if self._end.endswith("\n") else "\n\n"


def without_tags(text: str) -> str:
    """Return a text without the tags of thoughts, as it is shown to users."""
    tags = TagFilter()
    return tags.push(text) + tags.close()
