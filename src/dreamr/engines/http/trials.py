"""What routes are tried with, and what comes of a trial."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from dreamr.conversation import Conversation
from dreamr.engines.http.rendering import TALK, Prompts, RenderedPrompts
from dreamr.engines.http.routes import ChatRoute, Kind, Route
from dreamr.engines.http.servers import Json, Server
from dreamr.steps import opens_thought


@dataclass(frozen=True, slots=True)
class Trial:
    """What routes are tried with.

    Attributes:
        server: Kind of server.
        prompts: How its prompts are seen.
        flags: Fields of every request that switch thinking on or off.
        judging: Fields that keep the model from thinking before a verdict.
        kind: Kind of conversations that the routes are for.
        seen: Conversations with images, one of each form; none if the model takes no images.
    """

    server: Server
    prompts: Prompts
    flags: Json = field(default_factory=dict)
    judging: Json = field(default_factory=dict)
    kind: Kind = "any"
    seen: tuple[Conversation, ...] = ()

    @property
    def chat(self) -> ChatRoute:
        """The route by chat completions, not verified."""
        return ChatRoute(self.server, "turn", self.flags, self.judging, self.kind)

    @property
    def talk(self) -> Conversation:
        """The conversation with which routes are verified first."""
        return self.seen[0] if self.kind == "images" else TALK

    async def opens(self) -> bool:
        """Check whether the template opens the assistant's turn inside a thought."""
        if not isinstance(self.prompts, RenderedPrompts):
            return False
        return opens_thought(await self.prompts.opening(self.chat))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A route that a server or its chat template does not allow.

    Attributes:
        inserted: What the server inserts before a continued prefix; None if the route is rejected
            for another reason.
    """

    inserted: str | None = None


Candidate: TypeAlias = Callable[[Trial], Awaitable[Route | Rejected]]
