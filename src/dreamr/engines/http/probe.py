"""Probe a server on first contact: which model it has, and which routes continue texts exactly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from dreamr._families import recognize
from dreamr._messages import one_line, short_path
from dreamr.conversation import Conversation
from dreamr.engines.http.client import Client
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.evidence_probe import EvidenceProbe, takes_chosen_tokens
from dreamr.engines.http.fields import Field
from dreamr.engines.http.models import Listed, read_models
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.rendering import STEP, TALK, CountedPrompts, Prompts, RenderedPrompts
from dreamr.engines.http.routes import Body, ChatRoute, Route
from dreamr.engines.http.selection import Selection, refusal
from dreamr.engines.http.servers import LLAMA_CPP, OTHER, VLLM, Json, Server
from dreamr.engines.http.servers import recognize as recognize_server
from dreamr.engines.http.status import cache_block, read_metrics, start_mark
from dreamr.engines.http.window import WindowForm
from dreamr.engines.protocol import Thinking
from dreamr.errors import EngineError, EngineLost, ModelNotFound, Unsupported
from dreamr.steps import THINK, THOUGHT

LOG = logging.getLogger("dreamr.engines.http")


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether and how the model takes sounds, or video files.

    Attributes:
        routes: Routes that take them, in order of preference; none if the model does not.
        problem: Why it does not; empty if it does.
    """

    routes: tuple[Route, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Results of probing a server.

    Attributes:
        server: Kind of server.
        model: Name of the model on the server.
        context: Context length in tokens, None if unknown.
        routes: How requests are built, in order of preference.
        inserted: Text that the chat template inserts between the opening of the assistant's turn
            and a continued prefix in chat; None if prefixes are continued exactly.
        judges: Whether the server returns probabilities of alternative first tokens.
        shown: Whether rendered prompts could be read, rather than only counted.
        echoes: Whether the server repeats the prefix before its continuation.
        sees: Whether the model takes images; None if this was not tried.
        hearing: Whether and how the model takes sounds; None until the first one.
        watching: Whether and how the model takes video files; None until the first one.
        quiet_about_images: Whether the model thinks, but not about images.
        thinking: Whether thinking was switched on or off in the chat template; 'auto' if neither.
        cache_block: Tokens of a block of the prefix cache, as the server reports them; 0 if there
            is no cache, None if it does not tell.
        window: How a window is judged in one request, None if it cannot be.
        window_problem: Why not, empty if it can be or this was not tried.
        window_difference: Largest difference between verdicts of a window and of single requests;
            None if they were not compared.
        judge_problem: Why the model cannot judge, empty if it can.
        speculates: Whether llama.cpp decodes speculatively. It then reports no log-probabilities of
            guessed tokens, so the draft's confidence is unknown. None for other servers.
        margins: Whether the server reports the probabilities of given tokens.
        label_tokens: Tokens of the verdict's labels, if the server reports the probabilities of
            chosen tokens; empty if only those of the most likely ones can be asked for.
        marker: Text that stands for an image at llama.cpp, another one after each start.
        started: When the server started, as its metrics tell it; empty if they do not.
    """

    server: Server
    model: str
    context: int | None
    routes: tuple[Route, ...]
    inserted: str | None
    judges: bool
    shown: bool
    echoes: bool = False
    judge_problem: str = ""
    speculates: bool | None = None
    margins: bool = False
    label_tokens: tuple[int, ...] = ()
    marker: str = ""
    started: str = ""
    sees: bool | None = None
    hearing: Ability | None = None
    watching: Ability | None = None
    quiet_about_images: bool = False
    thinking: Thinking = "auto"
    cache_block: int | None = None
    window: WindowForm | None = None
    window_problem: str = ""
    window_difference: float | None = None

    @property
    def exact(self) -> bool:
        """Whether the chat template continues a prefix unchanged."""
        return self.inserted is None

    @property
    def refuses_chosen_tokens(self) -> bool:
        """Whether the server does not report chosen tokens where others of its kind do."""
        takes = self.server is VLLM and takes_chosen_tokens(self.route)
        return takes and self.judges and not self.label_tokens

    @property
    def route(self) -> Route:
        """The preferred route."""
        return self.routes[0]

    def route_for(self, conversation: Conversation) -> Route:
        """Return the preferred route of those that take a conversation.

        Raises:
            Unsupported: If none does.
        """
        for route in self._routes_for(conversation):
            if route.takes(conversation):
                return route
        for what, ability in self._abilities(conversation):
            if ability.problem:
                raise Unsupported(f"{short_path(self.model)} takes no {what}: {ability.problem}")
        if self.sees is False:
            raise Unsupported(f"{short_path(self.model)} accepts text only: remove the images")
        raise Unsupported(refusal(self.model, self.inserted or "unknown text", " around images"))

    def taking(self, conversation: Conversation) -> Route:
        """Return the route that takes a conversation, the preferred one if none does."""
        routes = self._routes_for(conversation)
        return next((route for route in routes if route.takes(conversation)), self.route)

    def _routes_for(self, conversation: Conversation) -> tuple[Route, ...]:
        """Return the routes to choose from."""
        abilities = [ability for _, ability in self._abilities(conversation)]
        return tuple(
            route for route in self.routes if all(route in ability.routes for ability in abilities)
        )

    def _abilities(self, conversation: Conversation) -> Iterator[tuple[str, Ability]]:
        """Yield what is known about media that the conversation has, with the name of each."""
        if conversation.sounds and self.hearing is not None:
            yield "sound", self.hearing
        if conversation.video_files and self.watching is not None:
            yield "video files", self.watching

    def thinks_about(self, conversation: Conversation) -> bool | None:
        """Return whether the model thinks about a conversation, None if its family decides."""
        if self.taking(conversation).opens:
            return True
        if self.thinking == "off" or (self.quiet_about_images and conversation.images):
            return False
        switched_on = self.thinking == "on" and recognize(self.model).thinks != "never"
        return True if switched_on else None

    @property
    def tags(self) -> tuple[str, str]:
        """Text before and after a thought, for a server that removes it."""
        return recognize(self.model).tags or (f"{THINK}\n", f"\n{THOUGHT}\n\n")

    def streaming(self, conversation: Conversation) -> Json:
        """Return the fields of a streamed request; it keeps the tags of thoughts."""
        family, thinks = recognize(self.model), self.thinks_about(conversation)
        if thinks is None:
            thinks = family.thinks in ("always", "default")
        special = self.server.special if thinks and family.tags is not None else {}
        return {**self.server.streaming, **special}

    def most_at_once(self, ahead: int) -> int:
        """Return the most tokens of one request; servers refuse more than the model's context.

        Args:
            ahead: Largest number of tokens of one request.
        """
        return ahead if self.context is None else max(1, min(ahead, self.context))

    @property
    def opens_thought(self) -> bool:
        """Whether the chat template opens a thought; False if unknown."""
        return self.route.opens


class Probe:
    """Determines how a server treats a known text."""

    def __init__(self, client: Client, options: HttpOptions) -> None:
        self._client, self._options = client, options

    async def run(self) -> ServerInfo:
        """Send the probing requests.

        Raises:
            ModelNotFound: If the server does not have the model.
            EngineError: If the server fails, or cannot continue a text that it did not write.
        """
        return await self._info(await self._listed())

    async def again(self, before: ServerInfo) -> ServerInfo:
        """Probe a server again that may have been restarted.

        Raises:
            EngineLost: If it has another model, or cannot be reached.
            EngineError: If the server fails, or cannot continue a text that it did not write.
        """
        base = self._options.base
        try:
            listed = await self._listed()
        except ModelNotFound as error:
            raise EngineLost(f"{short_path(before.model)} is gone: {error}") from error
        if listed.name != before.model:
            raise EngineLost(
                f"{base} serves {one_line(short_path(listed.name))} now instead of "
                f"{short_path(before.model)}: serve the same model again"
            )
        server, context = recognize_server(listed.owner), listed.context
        marker, started = await self._marker(server), start_mark(await self._metrics(server))
        same = (server, context, marker) == (before.server, before.context, before.marker)
        if same and started in ("", before.started):
            return before
        if context != before.context:
            LOG.warning(
                "%s now has a context of %s tokens instead of %s", base, context, before.context
            )
        return await self._info(listed)

    async def _info(self, listed: Listed, *, switching: bool = True) -> ServerInfo:
        """Probe how a server treats the prompts of a listed model."""
        server, model, thinking = (
            recognize_server(listed.owner),
            listed.name,
            self._options.thinking,
        )
        metrics = await self._metrics(server)
        prompts = await self._prompts(server, model)
        found = await Selection(server, model, prompts, thinking, switching).run()
        if not found.routes:
            raise EngineError(refusal(model, found.inserted or "unknown text"))
        route = found.routes[0]
        evidence = EvidenceProbe(self._client, self._options, server, route, model)
        label_tokens = await evidence.label_tokens()
        problem = "" if label_tokens else await evidence.judge_problem()
        if problem and switching and await self._refuses_switches(server, model):
            return await self._info(listed, switching=False)
        return ServerInfo(
            server,
            model,
            listed.context,
            found.routes,
            found.inserted,
            judges=not problem,
            shown=isinstance(prompts, RenderedPrompts),
            echoes=await self._echoes(model, route),
            sees=found.sees,
            quiet_about_images=found.quiet_about_images,
            thinking=thinking if server.plain and switching else "auto",
            judge_problem=problem,
            speculates=await self._speculates(server),
            margins=await evidence.margins(),
            label_tokens=label_tokens,
            marker=await self._marker(server),
            started=start_mark(metrics),
            cache_block=cache_block(metrics),
        )

    async def _metrics(self, server: Server) -> str:
        """Return the metrics of vLLM, empty for other servers."""
        return await read_metrics(self._client, self._options) if server is VLLM else ""

    async def _prompts(self, server: Server, model: str) -> Prompts:
        """Return how the server's prompts are seen."""
        if server.render is not None:
            shown = RenderedPrompts(self._client, self._options, model, server.render)
            try:
                await shown.opening(ChatRoute(server))
            except EngineLost:
                raise
            except EngineError:  # an older version, or the endpoint is disabled
                pass
            else:
                return shown
        return CountedPrompts(self._client, self._options, model)

    async def _listed(self) -> Listed:
        """Return the entry of the requested model in the server's list."""
        url, wanted = f"{self._options.base}/models", self._options.model
        try:
            entries = read_models(await self._client.get(url), url)
        except EngineLost:
            raise
        except EngineError as error:
            if wanted is None or not await self._completes(wanted, ChatRoute(OTHER)):
                raise error from error.__cause__  # the address can be wrong
            return Listed(wanted)  # many proxies have no list
        if not entries:
            raise ModelNotFound(f"{url} lists no models: is this the address of a model server?")
        served = one_line(", ".join(sorted(entries)))
        if wanted is None:
            if len(entries) > 1:
                raise ModelNotFound(f"{url} serves several models: choose one of {served}")
            return next(iter(entries.values()))
        if wanted not in entries:
            raise ModelNotFound(f"{url} has no model {wanted!r}: choose one of {served}")
        return entries[wanted]

    async def _refuses_switches(self, server: Server, model: str) -> bool:
        """Check whether the fields that switch thinking are why a server refuses requests.

        vLLM takes no template variables if it uses a Mistral tokenizer.
        """
        plain = ChatRoute(server, flags=server.plain)
        if not server.plain or await self._completes(model, plain):
            return False
        return await self._completes(model, ChatRoute(server))

    async def _completes(self, model: str, route: Route) -> bool:
        """Check whether a server answers requests to a model."""
        try:
            await self._complete(
                route, {"model": model, "max_tokens": 1, **await route.opened(TALK)}
            )
        except EngineLost:
            raise
        except (EngineError, Unsupported):
            return False
        return True

    async def _marker(self, server: Server) -> str:
        """Return the marker for images that llama.cpp draws when it starts, empty without one."""
        if server is not LLAMA_CPP:
            return ""
        url = f"{self._options.root}/props"
        try:
            marker = Field(await self._client.get(url), url).get("media_marker").value
        except EngineLost:
            raise
        except (EngineError, Unsupported):  # a router, or an older version
            return ""
        return marker if isinstance(marker, str) else ""

    async def _speculates(self, server: Server) -> bool | None:
        """Check whether llama.cpp decodes speculatively; None if the server does not tell."""
        if server is not LLAMA_CPP:
            return None
        url = f"{self._options.root}/slots"
        try:
            speculative = Field(await self._client.get(url), url).first().get("speculative").value
        except EngineLost:
            raise
        except (EngineError, Unsupported):  # started with --no-slots, or a router
            return None
        return speculative if isinstance(speculative, bool) else None

    async def _echoes(self, model: str, route: Route) -> bool:
        """Check whether the server repeats the prefix before its continuation."""
        request = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0,
            **await route.continued(TALK, STEP),
        }
        return (await self._complete(route, request)).text.startswith(STEP)

    async def _complete(self, route: Route, body: Body) -> Completion:
        url = route.url(self._options)
        return route.read(await self._client.post(url, route.form(body)), url)
