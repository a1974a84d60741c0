"""Messages between an engine and its worker process, and their encoding.

A frame on the stream socket is a length (four bytes), a kind (one byte) and the message. The engine
starts the worker, so both ends run the same version and pickle is safe. Messages that are sent for
each token contain only plain values and use marshal, which takes a tenth of the time.
"""

from __future__ import annotations

import marshal
import pickle
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias

from dreamr.conversation import Conversation, Image, Part, Tool, Turn
from dreamr.engines.local.options import Hints
from dreamr.engines.local.tool_calls import Wanted
from dreamr.engines.protocol import SamplingParams
from dreamr.gate import VERDICT, Evidence, Query

_HEAD = struct.Struct("<IB")

SentTurn: TypeAlias = tuple[Turn, tuple[Part | str, ...]]


class Remember(NamedTuple):
    """A conversation, sent once, and the key by which calls refer to it.

    Attributes:
        key: The key.
        turns: Each turn without its parts, and the parts. The digest of an image stands for one
            that the worker has from another conversation.
        tools: Tools of the conversation.
        group: Conversations of one group share what was computed for the beginning of their
            prompts and for their images.
    """

    key: int
    turns: tuple[SentTurn, ...]
    tools: tuple[Tool, ...] = ()
    group: str = ""

    @classmethod
    def of(
        cls, key: int, conversation: Conversation, group: str = "", known: Collection[str] = ()
    ) -> Remember:
        """Return the message about a conversation.

        Args:
            key: Its key.
            conversation: The conversation.
            group: Its group.
            known: Digests of the images that the worker has.
        """

        def sent(part: Part) -> Part | str:
            return part.digest if isinstance(part, Image) and part.digest in known else part

        turns = [
            (replace(turn, parts=()), tuple(map(sent, turn.parts))) for turn in conversation.turns
        ]
        return cls(key, tuple(turns), conversation.tools, group)

    def conversation(self, known: Mapping[str, Image]) -> Conversation:
        """Return the conversation.

        Args:
            known: Images of the conversations that came before, by digest.
        """
        turns = (
            replace(
                turn, parts=tuple(known[part] if isinstance(part, str) else part for part in parts)
            )
            for turn, parts in self.turns
        )
        return Conversation(tuple(turns), self.tools)


class Forget(NamedTuple):
    """Key of a conversation that no later call refers to."""

    key: int


class Stream(NamedTuple):
    """Request for a stream, which may send `LocalOptions.ahead` tokens before any `Taken`.

    Attributes:
        call: Number of the call.
        key: Key of the conversation.
        prefix: Steps to continue.
        sampling: How to choose tokens.
        wanted: What the text must keep to; None for any text.
    """

    call: int
    key: int
    prefix: tuple[str, ...]
    sampling: SamplingParams
    wanted: Wanted | None = None


class JudgeRequest(NamedTuple):
    """Request to judge candidates after a prefix."""

    call: int
    key: int
    prefix: tuple[str, ...]
    candidates: tuple[str, ...]
    query: Query = VERDICT


class CountRequest(NamedTuple):
    """Request for the number of prompt tokens of a conversation."""

    call: int
    key: int


class ExtendJudge(NamedTuple):
    """More candidates for a JudgeRequest; ignored once it has begun."""

    call: int
    candidates: tuple[str, ...]


class Taken(NamedTuple):
    """Number of further tokens that the consumer of a stream has taken."""

    call: int
    tokens: int


class Cancel(NamedTuple):
    """Cancellation of a call."""

    call: int


class Ready(NamedTuple):
    """Reply to the start, sent when the model is loaded.

    Attributes:
        images: Whether the model accepts images.
        judges: Whether the model can judge.
        context: Context length in tokens.
        judge_prompt: Question that is asked about each judged step.
        hints: Hints from the model's folder.
        opens_thought: Whether the chat template opens a thought.
        image_pixels: See `Capabilities`.
        device: Torch device of the model.
        dtype: Type in which it multiplies many rows.
        calls: Whether the chat template shows tools, and calls in a form that is read.
    """

    images: bool
    judges: bool
    context: int
    judge_prompt: str
    hints: Hints
    opens_thought: bool
    image_pixels: int | None = None
    device: str = ""
    dtype: str = ""
    calls: bool = False


class Piece(NamedTuple):
    """A piece of a stream, with the fields of `Chunk`."""

    call: int
    text: str
    tokens: int
    finish: Literal["stop", "length"] | None
    logprob: float | None
    min_logprob: float | None
    entropy: float | None = None

    def followed_by(self, other: Piece) -> Piece:
        """Return this piece and the next one merged into one."""
        logprob = min_logprob = None
        if self.logprob is not None and other.logprob is not None:
            logprob = self.logprob + other.logprob
        if self.min_logprob is not None and other.min_logprob is not None:
            min_logprob = min(self.min_logprob, other.min_logprob)
        text, tokens = self.text + other.text, self.tokens + other.tokens
        return Piece(self.call, text, tokens, other.finish, logprob, min_logprob, self.entropy)


class JudgeReply(NamedTuple):
    """Evidence for the candidates of a JudgeRequest, and of each ExtendJudge that came in time."""

    call: int
    evidence: tuple[Evidence, ...]


class CountReply(NamedTuple):
    """Reply to a CountRequest."""

    call: int
    tokens: int


class Failed(NamedTuple):
    """Failure of a call.

    Attributes:
        call: Number of the call; None if the start failed.
        kind: Name of a class in `dreamr.errors`.
        message: Error message, one line.
    """

    call: int | None
    kind: str
    message: str


_PLAIN = (Piece, Taken, Cancel, ExtendJudge)
_KINDS = {kind: number for number, kind in enumerate(_PLAIN)}
_PICKLED = len(_PLAIN)


def pack(message: Any) -> bytes:
    """Encode a message as a frame."""
    return b"".join(pieces(message))


def pieces(message: Any) -> list[bytes]:
    """Encode a message as the pieces of a frame. The pixels of images are not copied."""
    kind = _KINDS.get(type(message), _PICKLED)
    if kind != _PICKLED:
        body = marshal.dumps(tuple(message))
        return [_HEAD.pack(len(body), kind) + body]
    file = _Pieces()
    pickle.Pickler(file, protocol=5).dump(message)
    return [_HEAD.pack(sum(map(len, file.found)), kind), *file.found]


class _Pieces:
    """File for a pickler, which writes long bytes as they are."""

    def __init__(self) -> None:
        self.found: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.found.append(data)


def _unpack(kind: int, body: bytes) -> Any:
    return pickle.loads(body) if kind == _PICKLED else _PLAIN[kind](*marshal.loads(body))


class Frames:
    """Incremental decoder of frames, which may arrive in any number of chunks."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that these bytes complete. Exhaust it before the next call."""
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
