"""Pieces of an answer in the order in which they are written, and the whole."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.conversation import ToolCall
from dreamr.steps import Finish


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its log-probability.

    Attributes:
        token: Text of the token.
        logprob: Its log-probability (nats).
        raw: Its bytes, of which several tokens may make up one character; None if unknown.
        top: The most likely tokens at its place, without alternatives of their own.
    """

    token: str
    logprob: float
    raw: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()

    @property
    def encoded(self) -> bytes:
        """The bytes, those of the text if they are unknown."""
        return self.token.encode() if self.raw is None else bytes(self.raw)


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call.

    Attributes:
        index: Number of the call in the answer, from 0.
        arguments: Piece of the arguments' JSON text.
        id: Id of the call; on its first piece only.
        name: Name of the function; on the first piece only.
    """

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """Piece of an answer in a form.

    Attributes:
        text: Piece of the answer's text.
        reasoning: Piece of a thought that the model wrote in the same request.
        calls: Pieces of calls.
        tokens: Number of new tokens; on the last piece, those that were not counted before.
        logprobs: Log-probabilities of tokens of the text.
        finish: Set on the last piece only. 'stop' if the model ended its answer, 'length' if a
            limit of tokens cut it.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A whole answer.

    Attributes:
        text: Its text; empty if it consists of calls alone.
        calls: Its calls.
        reasoning: The thought that was written in the same request.
        tokens: Number of tokens, those of the reasoning included.
        logprobs: Log-probabilities of the tokens of the text, if they were requested.
        finish: How it ended.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish = "stop"


class AnswerBuilder:
    """Joins pieces to an answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._logprobs: list[TokenLogprob] = []
        self._tokens = 0
        self._finish: Finish = "stop"

    def add(self, piece: AnswerPiece) -> None:
        """Add the next piece."""
        self._texts.append(piece.text)
        self._thoughts.append(piece.reasoning)
        self._logprobs += piece.logprobs
        self._tokens += piece.tokens
        self._finish = piece.finish or self._finish
        for delta in piece.calls:
            name_id, name, arguments = self._calls.get(delta.index, ("", "", []))
            pieces = [*arguments, delta.arguments]
            self._calls[delta.index] = (name_id or delta.id, name or delta.name, pieces)

    def build(self) -> WrittenAnswer:
        """Return the answer so far."""
        calls = (
            ToolCall(call_id, name, "".join(arguments))
            for _, (call_id, name, arguments) in sorted(self._calls.items())
        )
        return WrittenAnswer(
            "".join(self._texts),
            tuple(calls),
            "".join(self._thoughts),
            self._tokens,
            tuple(self._logprobs),
            self._finish,
        )
