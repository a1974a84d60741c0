"""Answers in a form: the worker keeps to a format, and calls are read from the text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec

from dreamr.answers import AnswerForm, AnswerPiece
from dreamr.conversation import Conversation
from dreamr.engines.local.ipc import Ready
from dreamr.engines.local.tool_calls import CallChoice, CallParser, Wanted
from dreamr.engines.protocol import Chunk, Context, SamplingParams
from dreamr.errors import Unsupported


class AnswersLocally:
    """The part of an engine that writes answers in a form."""

    _ready: Ready | None

    @property
    def name(self) -> str:
        """Model folder or Hugging Face ID, as given."""
        raise NotImplementedError

    async def start(self) -> None:
        """Wait until the model is loaded."""
        raise NotImplementedError

    def _chunks(
        self, context: Context, sampling: SamplingParams, wanted: Wanted | None = None
    ) -> AsyncGenerator[Chunk, None]:
        raise NotImplementedError

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return why an answer in a form cannot follow given reasoning: never, if it is supported.

        Raises:
            Unsupported: If the model cannot write it.
            EngineLost: If the worker process died.
        """
        await self.start()
        assert self._ready is not None
        if form.top_logprobs is not None:
            raise Unsupported(
                "log-probabilities of the answer need a served target: serve it with vLLM, for "
                "example"
            )
        if form.calls(conversation) and not self._ready.calls:
            raise Unsupported(
                f"the chat template of {self.name} does not show calls as JSON in <tool_call>: "
                "serve the target with its tool parser, or use another model"
            )
        if _wanted(conversation, form) is not None and find_spec("llguidance") is None:
            raise Unsupported(
                "formats of answers need llguidance, which is not installed: pip install "
                "'dreamr[local]'"
            )
        return ""

    async def write_answer(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the answer in a form; see `AnswersInForm.write_answer`.

        Raises:
            ContextTooLong: If conversation and reasoning leave no room for a token.
            Unsupported: If the format cannot be followed.
            EngineLost: If the worker process died.
        """
        conversation = context.conversation
        most = None if form.parallel_calls else 1
        parser = CallParser(most) if form.calls(conversation) else None
        chunks = self._chunks(context, sampling, _wanted(conversation, form))
        async with aclosing(chunks):
            async for chunk in chunks:
                piece = AnswerPiece(chunk.text, tokens=chunk.tokens, finish=chunk.finish)
                if parser is not None:
                    text, calls = parser.push(chunk.text, last=chunk.finish is not None)
                    piece = replace(piece, text=text, calls=calls)
                    if parser.complete:
                        yield replace(piece, finish="stop")
                        return
                yield piece


def _wanted(conversation: Conversation, form: AnswerForm) -> Wanted | None:
    """Return what the worker must keep to; None if any text will do."""
    if not form.calls(conversation):
        return None if form.format is None else Wanted(form.format)
    if form.tool_choice == "required":
        return Wanted(None, CallChoice.of(conversation, form))
    if form.format is None:
        return None
    return Wanted(form.format, CallChoice.of(conversation, form))
