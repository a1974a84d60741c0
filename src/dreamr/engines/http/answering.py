"""Answers in a form: one streamed chat request under the server's own grammar and tool parser."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from dreamr.answers import AnswerForm, AnswerPiece
from dreamr.conversation import Conversation, Tool
from dreamr.engines.http.answer_carrier import AnswerCarrier
from dreamr.engines.http.answer_fields import form_fields, tool_fields
from dreamr.engines.http.answer_parser import AnswerParser
from dreamr.engines.http.client import Client
from dreamr.engines.http.draws import drawn
from dreamr.engines.http.events import next_event
from dreamr.engines.http.messages import messages
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.rendering import TALK, RenderedPrompts
from dreamr.engines.http.retries import RetryPolicy, TransientError, is_busy
from dreamr.engines.http.routes import Body, CarriedRoute, ChatRoute
from dreamr.engines.http.servers import VLLM
from dreamr.engines.protocol import Context, SamplingParams
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported

LOG = logging.getLogger("dreamr.engines.http")
_LEAST_TOKENS = 64  # of an answer whose limit is lowered to fit into the context
_NO_PARSER = re.compile(r"tool[ _-]?(call)?[ _-]?parser|auto[ _-]tool[ _-]choice|tool choice")
_PARSER_ADVICE = "start vLLM with --enable-auto-tool-choice and its --tool-call-parser"


@dataclass(slots=True)
class HttpAnswers:
    """Writes answers in a form for an engine.

    Attributes:
        client: Client of the server.
        options: Its address.
        info: Returns what is known of the server.
        common: Returns the fields of every request about a conversation.
        session: Returns the name of a conversation, for routers.
    """

    client: Client
    options: HttpOptions
    info: Callable[[], ServerInfo]
    common: Callable[[Conversation], Body]
    session: Callable[[Conversation], str]
    _parsing: tuple[ServerInfo, bool] | None = None  # whether a server parses calls

    async def problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return why an answer cannot follow given reasoning; see `AnswersInForm.form_problem`."""
        info = self.info()
        if info.server is not VLLM:
            return f"{info.server.name} does not continue reasoning with an answer in a form"
        if not info.taking(conversation).takes(conversation):
            return "the chat template does not continue reasoning about this conversation"
        if form.calls(conversation) and not await self._parses_calls():
            return f"the target's server has no tool parser ({_PARSER_ADVICE})"
        if await self._continued(conversation, "So.\n\n") is None:
            return "the chat template does not show where the reasoning begins"
        return ""

    async def _parses_calls(self) -> bool:
        """Return whether the server parses calls of tools, tried once."""
        info = self.info()
        if self._parsing is None or self._parsing[0] is not info:
            asked = replace(TALK, tools=(Tool("qz"),))
            request = {**self.common(asked), **self._opened(asked), "max_tokens": 1}
            try:
                await self.client.post_final(self._url, {**request, "tool_choice": "auto"})
            except EngineLost:
                raise
            except (EngineError, Unsupported) as error:
                if is_busy(error):
                    raise
                LOG.info("%s parses no calls: %s", self._url, error)
                self._parsing = (info, False)
            else:
                self._parsing = (info, True)
        return self._parsing[1]

    @property
    def _url(self) -> str:
        return f"{self.options.base}/chat/completions"

    def _opened(self, conversation: Conversation) -> Body:
        """Return the body of a request without reasoning."""
        info = self.info()
        flags = getattr(info.taking(conversation), "flags", {})
        turns = messages(
            conversation, audio_urls=info.server.audio_urls, video=info.server.video_part
        )
        return {"messages": turns, **flags, **tool_fields(conversation)}

    async def _continued(self, conversation: Conversation, prefix: str) -> Body | None:
        """Return the body of a request that continues reasoning, None if there is no way."""
        if not prefix:
            return self._opened(conversation)
        info = self.info()
        route = info.taking(conversation)
        if isinstance(route, ChatRoute | CarriedRoute):
            return await route.continued(conversation, prefix)
        if not info.shown or info.server.render is None:
            return None
        prompts = RenderedPrompts(self.client, self.options, info.model, info.server.render)
        carrier = AnswerCarrier(prompts.text, getattr(route, "flags", {}))
        return await carrier.continued(conversation, prefix)

    async def write(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the answer in a form; see `AnswersInForm.write_answer`.

        A format and the model's own choice to call tools cannot be demanded at once: the grammar
        would forbid the call. The first request has no format. If the model begins a text instead
        of a call, the text is dropped and a second request writes it in the format.

        Raises:
            ContextTooLong: If conversation and reasoning fill the model's context.
            Unsupported: If the server cannot parse calls.
            EngineError: If the server fails, or refuses the form.
        """
        conversation = context.conversation
        body = await self._continued(conversation, "".join(context.prefix))
        if body is None:
            raise EngineError(f"{self._url} does not continue this reasoning with an answer")
        continued = bool(context.prefix)
        choosing = form.calls(conversation) and form.tool is None and form.tool_choice == "auto"
        if form.format is None or self.info().server is not VLLM or not form.calls(conversation):
            pieces = self._written(conversation, body, form, sampling, continued=continued)
        elif choosing:
            pieces = self._chosen(conversation, body, form, sampling, continued=continued)
        else:
            calling = replace(form, format=None)
            pieces = self._written(conversation, body, calling, sampling, continued=continued)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _chosen(
        self,
        conversation: Conversation,
        body: Body,
        form: AnswerForm,
        sampling: SamplingParams,
        *,
        continued: bool,
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield calls if the model begins one, else the text in its format."""
        free, thought, calls = replace(form, format=None), False, False
        tries = self._written(conversation, body, free, sampling, continued=continued)
        async with aclosing(tries) as pieces:
            async for piece in pieces:
                calls = calls or bool(piece.calls)
                if piece.text.strip() and not calls:
                    break
                thought = thought or bool(piece.reasoning)
                if calls or piece.reasoning or piece.tokens:
                    yield replace(piece, text=piece.text if calls else "", finish=None)
                if piece.finish is not None and (calls or piece.finish == "length"):
                    yield AnswerPiece(finish=piece.finish)
                    return
        text = replace(form, tool_choice="none")
        writes = self._written(conversation, body, text, sampling, continued=continued)
        async with aclosing(writes) as pieces:
            async for piece in pieces:
                yield replace(piece, reasoning="") if thought else piece

    async def _written(
        self,
        conversation: Conversation,
        body: Body,
        form: AnswerForm,
        sampling: SamplingParams,
        *,
        continued: bool,
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the pieces of one request, which is sent again until text or a call has arrived.

        Reasoning that was yielded before is not repeated.
        """
        thought = False
        policy, most = RetryPolicy(self.options.retries), sampling.max_tokens
        if (context := self.info().context) is not None:
            most = min(most, context)
        while True:
            info = self.info()
            request = {
                **self.common(conversation),
                **drawn(sampling, info.server),
                **body,
                **form_fields(form, conversation),
                "stream": True,
                **info.server.streaming,
                "max_tokens": most,
            }
            parser, repeats = AnswerParser(self._url, continued), thought
            try:
                async with aclosing(self._events(conversation, request, parser)) as pieces:
                    async for piece in pieces:
                        thought = thought or bool(piece.reasoning)
                        yield replace(piece, reasoning="") if repeats else piece
            except TransientError as error:
                if parser.wrote:
                    raise error.final from error
                await policy.wait(error)
                continue
            except ContextTooLong:
                if parser.wrote or most <= _LEAST_TOKENS:
                    raise
                most //= 2  # the limit counts too, at some servers
                continue
            except Unsupported:
                raise
            except EngineError as error:
                if form.calls(conversation) and _NO_PARSER.search(str(error).lower()):
                    raise Unsupported(f"{error}: {_PARSER_ADVICE}") from error
                raise
            if parser.finish is None:
                raise EngineError(f"{self._url} closed the stream before the end of the answer")
            yield AnswerPiece(finish="length" if parser.cuts_call(most) else parser.finish)
            return

    async def _events(
        self, conversation: Conversation, request: Body, parser: AnswerParser
    ) -> AsyncGenerator[AnswerPiece, None]:
        await self.client.identity.ensure()
        session = self.session(conversation)
        async with self.client.events(self._url, request, session) as events:
            while (event := await next_event(events, ended=parser.finish is not None)) is not None:
                if (piece := parser.push(event)) is not None:
                    yield piece


class AnswersOverHttp:
    """The part of an engine that writes answers in a form."""

    _answers: HttpAnswers

    async def prepare(self, conversation: Conversation) -> None:
        """Find out what the server takes; see `Preparable`."""
        raise NotImplementedError

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return why an answer in a form cannot follow given reasoning; empty if it can."""
        await self.prepare(conversation)
        return await self._answers.problem(conversation, form)

    async def write_answer(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the answer in a form; see `AnswersInForm.write_answer`."""
        await self.prepare(context.conversation)
        async with aclosing(self._answers.write(context, form, sampling)) as pieces:
            async for piece in pieces:
                yield piece
