"""Routes that a server may have, in the order in which they are tried.

A candidate builds its route and verifies it. To add one: a function here, and its place in `_ORDER`
or in the list of its server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dreamr.engines.http.fields import Field
from dreamr.engines.http.rendering import QUESTION, SEEN, TALK, Prompts, RenderedPrompts
from dreamr.engines.http.routes import (
    ChatRoute,
    CompletionRoute,
    GenerateRoute,
    Route,
    TextRoute,
)
from dreamr.engines.http.servers import LLAMA_CPP, SGLANG, Server
from dreamr.errors import EngineError, EngineLost, Unsupported


@dataclass(frozen=True, slots=True)
class Rejected:
    """A route that a server or its chat template does not allow.

    Attributes:
        inserted: What the server inserts before a continued prefix; None if the route is rejected
            for another reason.
    """

    inserted: str | None = None


Candidate: TypeAlias = Callable[[Server, Prompts], Awaitable[Route | Rejected]]


async def chat(server: Server, prompts: Prompts) -> Route | Rejected:
    """Return the route by chat completions if the template continues prefixes exactly."""
    route = ChatRoute(server)
    inserted = await prompts.inserted(route)
    if inserted is not None:
        return Rejected(inserted)
    return route if await prompts.keeps(route) else ChatRoute(server, "inside")


async def text(server: Server, prompts: Prompts) -> Route | Rejected:
    """Return the route by text completions if the rendered prompt can be read."""
    if not isinstance(prompts, RenderedPrompts):
        return Rejected()
    opening = await prompts.opening(ChatRoute(server))
    if opening.count(QUESTION) != 1:
        return Rejected()
    return TextRoute(opening, QUESTION)


async def completion(server: Server, prompts: Prompts) -> Route | Rejected:
    """Return the route by llama.cpp's /completion if it sees the prompts that chat sees."""
    if not isinstance(prompts, RenderedPrompts):
        return Rejected()
    url = f"{prompts.options.root}/props"
    props = Field(await prompts.client.get(url), url)
    marker = props.get("media_marker").text() or _OLD_MARKER
    kinds = props.get("modalities")
    sees = isinstance(kinds.value, dict) and kinds.get("vision").value is True
    chat = ChatRoute(server)
    route = CompletionRoute(chat, prompts.text, marker)
    return route if await _same_lengths(route, chat, prompts, sees=sees) else Rejected()


async def generate(server: Server, prompts: Prompts) -> Route | Rejected:
    """Return the route by SGLang's /generate if it sees the prompts that chat sees."""
    if not isinstance(prompts, RenderedPrompts):
        return Rejected()
    chat = ChatRoute(server)
    tokens = await prompts.tokens({**await chat.opened(TALK), "add_generation_prompt": True})
    opening = await prompts.decoded(tokens)
    # Texts get the token that begins prompts, which the chat template has written already.
    doubled = await prompts.tokens({"prompt": opening}) == [*tokens[:1], *tokens]
    begins = await prompts.decoded(tokens[:1]) if doubled else ""
    route = GenerateRoute(chat, prompts.text, begins, await _label_tokens(prompts))
    # The list of models does not tell whether the model sees.
    sees = await _sees(chat, prompts)
    return route if await _same_lengths(route, chat, prompts, sees=sees) else Rejected()


async def _label_tokens(prompts: RenderedPrompts) -> list[int]:
    """Return the first token of each spelling of the labels."""
    labels = prompts.options.labels
    bodies = [
        {"prompt": spelling, "add_special_tokens": False}
        for spelling in (*labels.positive, *labels.negative)
    ]
    found = {token for body in bodies for token in (await prompts.tokens(body))[:1]}
    return sorted(token for token in found if isinstance(token, int))


async def _same_lengths(
    route: Route, chat: ChatRoute, prompts: RenderedPrompts, *, sees: bool
) -> bool:
    """Check that prompts of a route have as many tokens as in chat, images included."""
    lengths = prompts.counted
    for talk in (TALK, *([SEEN] if sees else ())):
        own = await lengths.length(route, await route.opened(talk))
        if own != await lengths.length(chat, await chat.opened(talk)):
            return False
    return True


async def _sees(chat: ChatRoute, prompts: RenderedPrompts) -> bool:
    """Check whether the model accepts an image in chat."""
    try:
        await prompts.counted.length(chat, await chat.opened(SEEN))
    except EngineLost:
        raise
    except (EngineError, Unsupported):
        return False
    return True


_ORDER: tuple[Candidate, ...] = (chat, text)
# Of servers with endpoints of their own.
_ORDERS: Mapping[str, tuple[Candidate, ...]] = {
    LLAMA_CPP.name: (chat, completion, text),
    SGLANG.name: (chat, generate, text),
}
_OLD_MARKER = "<__media__>"  # of llama.cpp before it drew one


def candidates(server: Server) -> tuple[Candidate, ...]:
    """Return the routes to try on a server."""
    return _ORDERS.get(server.name, _ORDER)
