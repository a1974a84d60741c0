"""Find out whether the model at a server takes sounds, or video files.

A server that ignores them would answer wrongly without an error. So one is sent once, and the
prompt must be longer with it than without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import anyio

from dreamr.conversation import Conversation
from dreamr.engines.http.client import Client
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import Ability, ServerInfo
from dreamr.engines.http.rendering import TALK, CountedPrompts, Prompts, RenderedPrompts
from dreamr.engines.http.retries import is_busy
from dreamr.engines.http.routes import Route
from dreamr.errors import EngineError, EngineLost, Unsupported


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server is tried with.

    Attributes:
        ability: Field of `ServerInfo` for the result.
        what: What is sent, for messages.
        occurs: Tells whether a conversation needs the ability.
        conversation: Returns a conversation to try.
        hint: Returns what to do about a server that refuses it; empty if nothing is known.
    """

    ability: Literal["hearing", "watching"]
    what: str
    occurs: Callable[[Conversation], bool]
    conversation: Callable[[], Conversation]
    hint: Callable[[ServerInfo], str] = lambda _: ""


class AbilityCheck:
    """Tries the routes of a server with a sample, once.

    Args:
        client: Client of the server.
        options: Options of the connection.
        sample: The sample.
    """

    def __init__(self, client: Client, options: HttpOptions, sample: Sample) -> None:
        self._client, self._options, self._sample = client, options, sample
        self._checking = anyio.Lock()

    async def known(
        self, conversation: Conversation, current: Callable[[], ServerInfo]
    ) -> ServerInfo:
        """Return what is known of the server, with the ability if a conversation needs it.

        Args:
            conversation: The conversation.
            current: Returns the results of the last probe.

        Raises:
            EngineLost: If the server cannot be reached.
            EngineError: If it stays busy.
        """
        if not self._sample.occurs(conversation):
            return current()
        async with self._checking:
            info, ability = current(), self._sample.ability
            if getattr(info, ability) is not None:
                return info
            found = await self._ability(info)
            now = current()  # another probe may have replaced it
            if now is not info:
                return now
            if ability == "hearing":
                return replace(info, hearing=found)
            return replace(info, watching=found)

    async def _ability(self, info: ServerInfo) -> Ability:
        talk, what = self._sample.conversation(), self._sample.what
        taking = [route for route in info.routes if route.takes(talk)]
        if not taking:
            return Ability((), f"its chat template needs a route that takes no {what}")
        counted = CountedPrompts(self._client, self._options, info.model)
        found, problems = list[Route](), list[str]()
        for route in taking:
            without = await counted.length(route, await route.opened(TALK))
            try:
                problem = await self._problem(info, route, counted, without)
            except EngineLost:
                raise
            except (EngineError, Unsupported) as error:  # text alone was accepted
                if is_busy(error):
                    raise
                problem = str(error)
            if problem:
                problems.append(problem)
            else:
                found.append(route)
        return Ability(tuple(found), "" if found else problems[0] + self._sample.hint(info))

    async def _problem(
        self, info: ServerInfo, route: Route, counted: CountedPrompts, without: int
    ) -> str:
        """Return why the sample cannot be sent by a route, empty if it can.

        Args:
            info: Results of probing the server.
            route: The route.
            counted: Prompts by their lengths.
            without: Tokens of the prompt without the sample.
        """
        talk, what = self._sample.conversation(), self._sample.what
        if await counted.length(route, await route.opened(talk)) <= without:
            return f"its server ignores {what}"
        prompts: Prompts = counted
        if info.shown and info.server.render is not None:
            prompts = RenderedPrompts(self._client, self._options, info.model, info.server.render)
        if (await prompts.match(route, talk)).inserted is not None:
            return f"its chat template does not continue texts after {what}"
        return ""
