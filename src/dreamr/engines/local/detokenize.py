"""From tokens to text one token at a time, never half a character.

Byte-level tokenizers get a decoder of bytes: exact, and its cost does not grow with the text. All
others are decoded in a short window (the way text-generation servers do it), because a token's
text may depend on its neighbours there.

`tokenizers.decoders.DecodeStream` (0.23.3) is not used: it holds text back for as long as the last
bytes do not make a character, without bound, and does not tell that it does. With it two tests
fail: that any tokens give the text of all of them, and that bytes which never make a character do
not hold the text forever.
"""

from __future__ import annotations

import codecs
from typing import Any, Protocol

_WINDOW = 16  # tokens held back at most while their bytes do not make a character
_CONTEXT = 6  # tokens before the first one that may change its text
_BROKEN = "\ufffd"


class Detokenizer(Protocol):
    """Text of a growing sequence of tokens."""

    def push(self, token: int) -> str:
        """The text that this token makes certain; may be empty."""
        ...

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished character are held back."""
        ...


class Texts:
    """Makes detokenizers for one tokenizer (a `tokenizers.Tokenizer`)."""

    def __init__(self, backend: Any, special: frozenset[int]) -> None:
        self._backend = backend
        self._special = special
        self._bytes: dict[int, bytes] | None = {} if _is_byte_level(backend) else None
        self._added = {number: token.content for number, token in _added_tokens(backend).items()}

    @property
    def byte_level(self) -> bool:
        """Whether every token stands for bytes of its own, whatever its neighbours."""
        return self._bytes is not None

    def start(self, context: list[int]) -> Detokenizer:
        """A detokenizer for what follows these tokens."""
        if self.byte_level:
            return _Bytes(self)
        return _Window(self._backend, context)

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token of a byte-level tokenizer; none for a special token."""
        assert self._bytes is not None
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._spell(token)
        return known

    def _spell(self, token: int) -> bytes:
        if token in self._special:
            return b""
        if (added := self._added.get(token)) is not None:
            return str(added).encode()
        spelled = self._backend.id_to_token(token)
        if spelled is None:  # rows of the output matrix that no token has
            return b""
        try:
            return bytes(_BYTE_OF[char] for char in spelled)
        except KeyError:
            return str(spelled).encode()


class _Bytes:
    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self._texts.bytes_of(token))

    @property
    def pending(self) -> bool:
        return bool(self._decoder.getstate()[0])


class _Window:
    """Decodes the last few tokens twice, with and without the new one; the rest is the text."""

    def __init__(self, backend: Any, context: list[int]) -> None:
        self._backend = backend
        self._ids = self._whole(context)
        self._read = len(self._ids)

    def push(self, token: int) -> str:
        self._ids.append(token)
        before = self._decode(self._ids[: self._read])
        text = self._decode(self._ids)
        held = len(self._ids) - self._read
        if text.endswith(_BROKEN) and held < _WINDOW:
            return ""
        # What has just become text is whole characters, and so the context of what comes next.
        self._ids = self._ids[self._read :]
        self._read = len(self._ids)
        return text[len(before) :]

    @property
    def pending(self) -> bool:
        return len(self._ids) > self._read

    def _whole(self, context: list[int]) -> list[int]:
        """The last few tokens, from where no character is cut."""
        starts = range(max(0, len(context) - _CONTEXT), len(context))
        return next((ids for n in starts if _BROKEN not in self._decode(ids := context[n:])), [])

    def _decode(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=True)) if ids else ""


def _is_byte_level(backend: Any) -> bool:
    return type(backend.decoder).__name__ == "ByteLevel"


def _added_tokens(backend: Any) -> dict[int, Any]:
    return dict(backend.get_added_tokens_decoder())


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level tokenizers spell bytes (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + place): byte for place, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()
