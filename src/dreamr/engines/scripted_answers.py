"""A scripted engine that also writes answers in a form, for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dreamr.answers import AnswerForm, AnswerPiece
from dreamr.conversation import Conversation
from dreamr.engines.protocol import Context, SamplingParams
from dreamr.engines.scripted import ScriptedEngine

Answers: TypeAlias = Sequence[AnswerPiece] | Callable[[Context, AnswerForm], Sequence[AnswerPiece]]


@dataclass(kw_only=True)
class AnsweringEngine(ScriptedEngine):
    """A `ScriptedEngine` that also plays answers in a form.

    Attributes:
        answers: The pieces of an answer, or a function of the reasoning and the form. Each takes
            the latency of its tokens.
        problem: Why answers cannot follow given reasoning; empty if they can.
        answered: Reasoning and form of the answers that were written.
    """

    answers: Answers = ()
    problem: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answered: list[tuple[Context, AnswerForm]] = []

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return the problem."""
        await self._work(0.0, None, 0)
        return self.problem

    async def write_answer(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the pieces of the answer; a limit of tokens cuts it."""
        call, self.streams = self.streams, self.streams + 1
        failure = self.stream_failures.get(call)
        self.answered.append((context, form))
        pieces = self.answers(context, form) if callable(self.answers) else self.answers
        written = 0
        self.open_streams += 1
        try:
            for piece in pieces:
                await self._work(self.token_seconds * piece.tokens, failure, written)
                if written + piece.tokens > sampling.max_tokens:
                    break
                written += piece.tokens
                yield piece
            else:
                yield AnswerPiece(finish="stop")
                return
            yield AnswerPiece(finish="length")
        finally:
            self.open_streams -= 1
