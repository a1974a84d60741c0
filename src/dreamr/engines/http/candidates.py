"""Routes that a server may have, in the order in which they are tried.

A candidate builds its route and verifies it. To add one: a function here, and its place in `_ORDER`
or in the list of its server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dreamr.engines.http.rendering import QUESTION, Prompts, RenderedPrompts
from dreamr.engines.http.routes import ChatRoute, Route, TextRoute
from dreamr.engines.http.servers import Server


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


_ORDER: tuple[Candidate, ...] = (chat, text)
_ORDERS: Mapping[str, tuple[Candidate, ...]] = {}  # of servers with endpoints of their own


def candidates(server: Server) -> tuple[Candidate, ...]:
    """Return the routes to try on a server."""
    return _ORDERS.get(server.name, _ORDER)
