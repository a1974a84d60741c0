"""What an engine and its worker process say to each other, and how it travels.

Frames on a stream socket: four bytes of length, then a pickle. Both ends are ours and of one
version, so pickling is safe here. A frame a token: names are short and values plain.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from dreamr.conversation import Conversation
from dreamr.engines._protocol import Sampling
from dreamr.engines.local._options import Hints
from dreamr.gate import Evidence

_LENGTH = struct.Struct("<I")


class Remember(NamedTuple):
    """A conversation, sent once; calls name it by `key`."""

    key: int
    conversation: Conversation


class Forget(NamedTuple):
    """No later call will name this conversation."""

    key: int


class Stream(NamedTuple):
    """Start a stream; its consumer grants `LocalOptions.ahead` tokens to begin with."""

    call: int
    key: int
    prefix: tuple[str, ...]
    sampling: Sampling


class Judge(NamedTuple):
    """Judge candidates after a prefix."""

    call: int
    key: int
    prefix: tuple[str, ...]
    candidates: tuple[str, ...]


class Taken(NamedTuple):
    """The consumer of a stream has taken so many more tokens."""

    call: int
    tokens: int


class Cancel(NamedTuple):
    """Nobody waits for this call any more."""

    call: int


class Ready(NamedTuple):
    """The model is loaded. context: tokens it can hold."""

    images: bool
    context: int
    judge_question: str
    hints: Hints


class Piece(NamedTuple):
    """A piece of a stream, as `Chunk` has it."""

    call: int
    text: str
    tokens: int
    finish: Literal["stop", "length"] | None
    logprob: float | None


class Judged(NamedTuple):
    """The answer to Judge."""

    call: int
    evidence: tuple[Evidence, ...]


class Failed(NamedTuple):
    """A call failed, or the start did (call None). kind: the name of a class in dreamr.errors."""

    call: int | None
    kind: str
    message: str


def pack(message: Any) -> bytes:
    """One frame."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Bytes in, messages out; a frame may come in any number of pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that these bytes complete. Exhaust it before feeding again."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(buffer, start)[0]
            if len(buffer) < end:
                break
            yield pickle.loads(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
