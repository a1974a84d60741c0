"""Engine for a model on an OpenAI-compatible server."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Self
from uuid import uuid4

import httpx2

from dreamr._messages import short_path
from dreamr.conversation import Conversation
from dreamr.engines.http.abilities import capabilities
from dreamr.engines.http.ability_check import AbilityCheck
from dreamr.engines.http.answering import AnswersOverHttp, HttpAnswers
from dreamr.engines.http.client import Client
from dreamr.engines.http.continuation import Continuation, EndSigns
from dreamr.engines.http.draws import drawn
from dreamr.engines.http.events import next_event
from dreamr.engines.http.guess_check import GuessCheck
from dreamr.engines.http.hearing import HEARING
from dreamr.engines.http.judging import HttpJudge, Send
from dreamr.engines.http.logprobs import UNKNOWN
from dreamr.engines.http.media_check import open_media_sender
from dreamr.engines.http.media_parts import MediaKind, MediaRoute
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import Probe, ServerInfo
from dreamr.engines.http.prompt_counts import PromptCounts
from dreamr.engines.http.rendering import TALK
from dreamr.engines.http.retries import TransientError
from dreamr.engines.http.routes import Body, Route
from dreamr.engines.http.sessions import Sessions
from dreamr.engines.http.sse import EndSign, StreamParser
from dreamr.engines.http.status import check_server, clock_offset, running
from dreamr.engines.http.watching import WATCHING
from dreamr.engines.http.window_probe import WindowProbe
from dreamr.engines.lifecycle import ClosingEngine
from dreamr.engines.protocol import Capabilities, Chunk, Context, SamplingParams
from dreamr.errors import EngineError
from dreamr.gate import VERDICT, Evidence, Query

LOG = logging.getLogger("dreamr.engines.http")


class HttpEngine(AnswersOverHttp, ClosingEngine):
    """One model served by vLLM, SGLang, llama.cpp, Ollama or another OpenAI-compatible server.

    A lane is one streamed request. Its text is split into steps here, and closing the connection
    cancels it. A judge call sends a one-token request per step, concurrently, and relies on the
    server's prefix cache. Transient failures are retried; a stream continues where it was
    interrupted.

    Args:
        options: Address, model name, API key and limits.
        transport: Replaces the network in tests.
    """

    def __init__(
        self, options: HttpOptions, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._options = options
        self._client = Client(options, transport)
        self._server_info: ServerInfo | None = None
        self._abilities = [AbilityCheck(self._client, options, one) for one in (HEARING, WATCHING)]
        self._sessions = Sessions()
        self._prompts = PromptCounts()
        self._signs = EndSigns(self._sign_of_an_end, options.base)
        self._parses = False  # whether the server has sent parsed reasoning
        self._warned: set[str] = set()
        info = lambda: self.server_info  # noqa: E731
        self._judge = self._make_judge(info, self._send)
        self._answers = HttpAnswers(self._client, options, info, self._common, self._sessions.name)
        self._guesses = GuessCheck(
            options, info, self._send, self._judge.prompts.get, self._warn_once
        )

    def _make_judge(self, info: Callable[[], ServerInfo], send: Send) -> HttpJudge:
        return HttpJudge(self._options, info, send, self.count, self._warn_once)

    @classmethod
    async def open(
        cls, options: HttpOptions, transport: httpx2.AsyncBaseTransport | None = None
    ) -> Self:
        """Return an engine that has probed its server.

        Raises the errors of `start`.
        """
        return await cls(options, transport).started()

    async def start(self) -> None:
        """Probe the server on the first call; later calls do nothing.

        Raises:
            ModelNotFound: If the server does not have the model.
            EngineLost: If the server cannot be reached.
            EngineError: If the server cannot continue a given text.
        """
        if self._server_info is None:
            found = await Probe(self._client, self._options).run()
            self._use(await self._with_window(found))
            self._client.identity.settle(self._compare)

    async def prepare(self, conversation: Conversation) -> None:
        """Probe the server on the first call, and try it with the first sound and video file.

        Raises the errors of `start`.
        """
        await self.start()
        for check in self._abilities:
            self._server_info = await check.known(conversation, lambda: self.server_info)

    def _use(self, info: ServerInfo) -> None:
        """Use the results of a probe, and nothing that was known of the server before."""
        self._server_info, self._client.prioritized = info, info.server.prioritized
        self._prompts.clear()
        self._judge.forget()
        self._client.media = open_media_sender(self._client, self._options, info)

    async def _compare(self) -> bool:
        """Return whether the server has other options than the probe found.

        Raises:
            EngineLost: If it has another model, or cannot be reached.
            EngineError: If it cannot continue a text any more.
        """
        before, probe = self.server_info, Probe(self._client, self._options)
        if (found := await probe.again(before)) is not before:
            self._use(await self._with_window(found))
        return found is not before

    async def _with_window(self, info: ServerInfo) -> ServerInfo:
        """Return the results of a probe, with whether a window can be judged in one request."""
        return await WindowProbe(self._client, self._options, info, self._make_judge).run()

    def media_route(self, kind: MediaKind) -> MediaRoute | None:
        """Return how the server takes media of a kind; None if that was not needed yet."""
        return self._client.media.route(kind)

    @property
    def server_info(self) -> ServerInfo:
        """Results of the probe, available after `start`.

        Raises:
            EngineError: If the engine was not started.
        """
        if self._server_info is None:
            raise EngineError(f"{self._options.url} is not probed yet: await start() first")
        return self._server_info

    @property
    def name(self) -> str:
        """Name and address of the model."""
        model = self._server_info.model if self._server_info else self._options.model or "the model"
        return f"{short_path(model)} at {self._options.base}"

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the server, known after `start`.

        Images count as supported until the server refuses one. Sounds and video files are tried
        first.
        """
        pixels = self._options.image_pixels
        if self._server_info is None:
            return Capabilities(image_pixels=pixels)
        return capabilities(self._server_info, pixels)

    @property
    def alive(self) -> bool:
        """Whether the server could be reached at the last request; it may come back."""
        return self._client.alive

    async def check(self) -> None:
        """Check that the server works and still has the model; see `Engine.check`."""
        await check_server(self._client, self._options, self.server_info.model)
        await self._client.identity.ensure()

    def note_stall(self, seconds: float) -> None:
        """Count the server as unreachable until its next response; see `Engine.note_stall`."""
        self._client.note_stall()

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        """Yield chunks that continue the prefix; see `Engine.stream`.

        Raises:
            ContextTooLong: If conversation and prefix fill the model's context.
            Unsupported: If the model does not accept a part of the conversation.
            EngineLost: If the server cannot be reached and no retries are left.
        """
        await self.prepare(context.conversation)
        route = self.server_info.route_for(context.conversation)
        if self.server_info.quiet_about_images and context.conversation.images:
            self._warn_once(
                "does not think about images, where it answers better without: set --thinking on "
                "to let it think"
            )
        if (checked := await self._guesses.check(context, sampling)) is not None:
            yield Chunk(checked.text, checked.tokens)
            if checked.ended or checked.tokens >= sampling.max_tokens:
                yield Chunk("", 0, "stop" if checked.ended else "length")
                return
            context = replace(context, prefix=(*context.prefix, checked.text))
            sampling = replace(sampling, max_tokens=sampling.max_tokens - checked.tokens)
        continuation = Continuation(
            partial(self._request, context, sampling),
            "".join(context.prefix),
            sampling.max_tokens,
            self.server_info.most_at_once(self._options.ahead),
            self._options.retries,
            self._signs,
            partial(self._parser, context.conversation),
            route.url(self._options),
        )
        async with aclosing(self._guesses.timed(continuation.chunks())) as chunks:
            async for chunk in chunks:
                yield chunk

    def _parser(self, conversation: Conversation, before: str) -> StreamParser:
        """Return the parser of a response that continues the assistant's text `before`."""
        info = self.server_info
        route = info.route_for(conversation)
        url = route.url(self._options)
        return StreamParser.after(before, route, info, parses=self._parses, url=url)

    async def _request(
        self,
        context: Context,
        sampling: SamplingParams,
        written: str,
        most: int,
        parser: StreamParser,
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of one streamed response."""
        prefix = "".join(context.prefix) + written
        async with self._client.identity.watching():  # another server can have another route
            info = self.server_info
            route = info.route_for(context.conversation)
            continued = await route.continued(context.conversation, prefix)
        parser.read, parser.entropies = route.reader(), sampling.entropy
        body = {
            **self._common(context.conversation),
            **continued,
            "stream": True,
            **info.streaming(context.conversation),
            "max_tokens": most,
            **drawn(sampling, info.server),
        }
        if sampling.logprobs or sampling.entropy:
            body |= route.tops(info.server.tops if sampling.entropy else 1)
        rid, done, session = uuid4().hex, False, self._sessions.name(context.conversation)
        if info.server.abort:
            body["rid"] = rid
        try:
            url = route.url(self._options)
            async with self._client.events(url, route.form(body), session) as events:
                while (
                    event := await next_event(events, ended=parser.finish is not None)
                ) is not None:
                    chunk = parser.push(event)
                    if chunk is not None:
                        yield chunk
            done = True
        except (TransientError, EngineError):
            route.note(context.conversation, answered=False)
            raise
        finally:
            if parser.text:
                route.note(context.conversation, answered=True)
            if parser.unknown:
                self._warn_once(UNKNOWN)
            self._parses = self._parses or parser.parses
            if parser.prompt is not None and not prefix:
                self._prompts.keep(context.conversation, parser.prompt)
            if info.server.abort and not done:
                url = f"{self._options.root}{info.server.abort}"
                await self._client.abort(url, rid, session)

    async def _sign_of_an_end(self) -> EndSign | None:
        """Return how a response of one token ends, None if it has no text."""
        parser, sampling = self._parser(TALK, ""), SamplingParams(max_tokens=1)
        try:
            async with aclosing(self._request(Context(TALK), sampling, "", 1, parser)) as chunks:
                async for _ in chunks:
                    pass
        except (TransientError, EngineError):  # the caller reports the error that it has
            return None
        return parser.end_sign if parser.text else None

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps, with one concurrent request per step; see `Engine.judge`.

        Raises the errors of `HttpJudge.judge`.
        """
        await self.prepare(context.conversation)
        return await self._judge.judge(context, candidates, query)

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of all judge calls, as reported by the server."""
        return self._judge.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        """Those of `prompt_tokens` that came from the prefix cache, if the server reports it."""
        return self._judge.cached_tokens

    async def _send(
        self,
        body: Callable[[Route], Awaitable[Body]],
        conversation: Conversation,
        route: Route | None = None,
    ) -> tuple[object, Route]:
        """Send a request; it is made again for each retry, maybe for a new route; see `Send`."""
        session = self._sessions.name(conversation)

        async def attempt() -> tuple[object, Route]:
            via = route or self.server_info.route_for(conversation)
            try:
                async with self._client.identity.watching():
                    request = {**self._common(conversation), "max_tokens": 1, **await body(via)}
                url = via.url(self._options)
                answer = await self._client.post_once(url, via.form(request), session)
            except (TransientError, EngineError):
                via.note(conversation, answered=False)
                raise
            via.note(conversation, answered=True)
            return answer, via

        return await self._client.again(attempt)

    def _warn_once(self, message: str) -> None:
        """Log a warning about the model if it is new."""
        if message not in self._warned:
            self._warned.add(message)
            LOG.warning("%s %s", self.name, message)

    async def count(self, conversation: Conversation) -> int:
        """Return the number of prompt tokens as the server counts them.

        A request is sent unless a stream has reported the number before.

        Raises:
            ContextTooLong: If the conversation does not fit into the model's context.
            EngineError: If the server does not report the number.
            EngineLost: If the server cannot be reached and no retries are left.
        """
        await self.prepare(conversation)
        counted = self._prompts.get(conversation)
        if counted is None:
            answer, route = await self._send(lambda one: one.opened(conversation), conversation)
            counted = route.read(answer, route.url(self._options)).usage.prompt
            if counted is None:
                raise EngineError(f"{self.name} does not report the number of prompt tokens")
            self._prompts.keep(conversation, counted)
        return counted

    @property
    def sent_bytes(self) -> int:
        """Bytes of the bodies of all requests so far."""
        return self._client.sent_bytes

    async def running(self) -> int | None:
        """Return the number of requests that the server runs, None if its metrics do not say."""
        return await running(self._client, self._options)

    async def ahead(self) -> float | None:
        """Return how far the server's clock is ahead of ours (seconds), None if it is unknown."""
        return await clock_offset(self._client, self._options)

    def _common(self, conversation: Conversation) -> Body:
        """Return the fields that every request carries."""
        body: Body = {"model": self.server_info.model}
        salt = self._sessions.salt(conversation)
        if self.server_info.server.salted and salt is not None:
            body["cache_salt"] = salt
        return body

    def opens_thought(self, conversation: Conversation) -> bool:
        """Return whether the assistant's turn of a conversation is opened inside a thought."""
        return self.server_info.taking(conversation).opens

    def route_name(self, conversation: Conversation) -> str:
        """Return the name of the route that a conversation takes."""
        return self.server_info.taking(conversation).name

    def forget(self, conversation: Conversation) -> None:
        """Make the server compute the conversation again, if its cache supports salts."""
        self._sessions.forget(conversation)

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        await self._client.aclose()
