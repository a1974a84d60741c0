"""What an engine and its worker process say to each other, and how it travels.

Frames on a stream socket: four bytes of length, one for the kind, then the message. Both ends are
ours and of one version, so pickling is safe here. The kinds that come with each token hold plain
values only and are marshalled, which takes a tenth of the time.
"""

from __future__ import annotations

import marshal
import pickle
import struct
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from dreamr.conversation import Conversation
from dreamr.engines.local.options import Hints
from dreamr.engines.protocol import SamplingParams
from dreamr.gate import VERDICT, Evidence, Query

_HEAD = struct.Struct("<IB")


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
    sampling: SamplingParams


class JudgeRequest(NamedTuple):
    """Judge candidates after a prefix."""

    call: int
    key: int
    prefix: tuple[str, ...]
    candidates: tuple[str, ...]
    query: Query = VERDICT


class CountRequest(NamedTuple):
    """How many tokens does the conversation take as a prompt?"""

    call: int
    key: int


class Extend(NamedTuple):
    """More candidates for a JudgeRequest that has not had its turn; else nothing."""

    call: int
    candidates: tuple[str, ...]


class Taken(NamedTuple):
    """The consumer of a stream has taken so many more tokens."""

    call: int
    tokens: int


class Cancel(NamedTuple):
    """Nobody waits for this call any more."""

    call: int


class Ready(NamedTuple):
    """The model is loaded. context: tokens it can hold. judges: whether it can judge."""

    images: bool
    judges: bool
    context: int
    judge_prompt: str
    hints: Hints


class Piece(NamedTuple):
    """A piece of a stream, as `Chunk` has it."""

    call: int
    text: str
    tokens: int
    finish: Literal["stop", "length"] | None
    logprob: float | None
    least: float | None

    def followed_by(self, other: Piece) -> Piece:
        """Both as one."""
        logprob = least = None
        if self.logprob is not None and other.logprob is not None:
            logprob = self.logprob + other.logprob
        if self.least is not None and other.least is not None:
            least = min(self.least, other.least)
        text, tokens = self.text + other.text, self.tokens + other.tokens
        return Piece(self.call, text, tokens, other.finish, logprob, least)


class JudgeReply(NamedTuple):
    """Evidence for the candidates of a JudgeRequest and of each Extend that came in time."""

    call: int
    evidence: tuple[Evidence, ...]


class CountReply(NamedTuple):
    """The answer to CountRequest."""

    call: int
    tokens: int


class Failed(NamedTuple):
    """A call failed, or the start did (call None). kind: the name of a class in dreamr.errors."""

    call: int | None
    kind: str
    message: str


_PLAIN = (Piece, Taken, Cancel, Extend)
_KINDS = {kind: number for number, kind in enumerate(_PLAIN)}
_PICKLED = len(_PLAIN)


def pack(message: Any) -> bytes:
    """One frame."""
    kind = _KINDS.get(type(message), _PICKLED)
    plain = kind != _PICKLED
    body = marshal.dumps(tuple(message)) if plain else pickle.dumps(message, protocol=5)
    return _HEAD.pack(len(body), kind) + body


def _unpack(kind: int, body: bytes) -> Any:
    return pickle.loads(body) if kind == _PICKLED else _PLAIN[kind](*marshal.loads(body))


class Frames:
    """Bytes in, messages out; a frame may come in any number of pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that these bytes complete. Exhaust it before feeding again."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, start)
            body = start + _HEAD.size
            if len(buffer) < body + length:
                break
            start = body + length
            yield _unpack(kind, bytes(buffer[body:start]))
        del buffer[:start]
