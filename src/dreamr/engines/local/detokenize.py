"""Incremental detokenization: text token by token, never half a character.

Byte-level tokenizers use an incremental UTF-8 decoder. It is exact, and its cost per token is
constant. All other tokenizers decode a short window of tokens, as text-generation servers do,
because the text of a token may depend on its neighbors.

`tokenizers.decoders.DecodeStream` (0.23.3) is not used. It holds back text without bound while the
last bytes do not form a character, and does not report that it does. With it, two tests fail: that
the pieces of any tokens add up to the whole text, and that bytes which never form a character do
not hold back the text forever.
"""

from __future__ import annotations

import codecs
from typing import Any, Protocol

_WINDOW = 16  # most tokens held back while their bytes do not form a character
_CONTEXT = 6  # tokens before the first new one, on which its text may depend
_BROKEN = "\ufffd"


class Detokenizer(Protocol):
    """Text of a growing sequence of tokens."""

    def push(self, token: int) -> str:
        """Append a token and return the text that has become certain; may be empty."""
        ...

    @property
    def pending(self) -> bool:
        """Whether bytes of an incomplete character are held back."""
        ...


class Texts:
    """Factory of detokenizers for one tokenizer.

    Args:
        backend: Tokenizer, a `tokenizers.Tokenizer`.
        special: Ids of the special tokens, which have no text.
    """

    def __init__(self, backend: Any, special: frozenset[int]) -> None:
        self._backend = backend
        self._special = special
        self._bytes: dict[int, bytes] | None = {} if _is_byte_level(backend) else None
        self._added = {number: token.content for number, token in _added_tokens(backend).items()}

    @property
    def byte_level(self) -> bool:
        """Whether each token stands for fixed bytes, independent of its neighbors."""
        return self._bytes is not None

    def start(self, context: list[int]) -> Detokenizer:
        """Return a detokenizer for the tokens that follow the given ones."""
        if self.byte_level:
            return _Bytes(self)
        return _Window(self._backend, context)

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes of a token of a byte-level tokenizer; empty for a special token."""
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
        if spelled is None:  # padding rows of the output matrix
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
    """Decodes the last tokens with and without the new one; the difference is its text."""

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
        # The tokens just emitted are whole characters, so they can be the next context.
        self._ids = self._ids[self._read :]
        self._read = len(self._ids)
        return text[len(before) :]

    @property
    def pending(self) -> bool:
        return len(self._ids) > self._read

    def _whole(self, context: list[int]) -> list[int]:
        """Return the last few tokens, starting where no character is split."""
        starts = range(max(0, len(context) - _CONTEXT), len(context))
        return next((ids for n in starts if _BROKEN not in self._decode(ids := context[n:])), [])

    def _decode(self, ids: list[int]) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=True)) if ids else ""


def _is_byte_level(backend: Any) -> bool:
    return type(backend.decoder).__name__ == "ByteLevel"


def _added_tokens(backend: Any) -> dict[int, Any]:
    return dict(backend.get_added_tokens_decoder())


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of the byte-level alphabet (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + place): byte for place, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()
