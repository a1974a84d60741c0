"""Find out whether the model at a server hears.

A server that ignores sounds would answer wrongly without an error. So a sound is sent once, and the
prompt must be longer with it than without.
"""

from __future__ import annotations

import io
import math
import wave
from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import anyio

from dreamr._families import recognize
from dreamr.conversation import Audio, Conversation
from dreamr.engines.http.client import Client
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import Hearing, ServerInfo
from dreamr.engines.http.rendering import QUESTION, TALK, CountedPrompts, Prompts, RenderedPrompts
from dreamr.engines.http.routes import Route
from dreamr.engines.http.servers import VLLM
from dreamr.errors import EngineError, EngineLost, Unsupported

_RATE, _LOUDNESS, _PITCH = 16_000, 1000, 440.0  # of one second of a quiet tone


@cache
def heard_conversation() -> Conversation:
    """Return a conversation about a sound."""
    wave_length = _RATE / _PITCH
    samples = (_LOUDNESS * math.sin(2 * math.pi * n / wave_length) for n in range(_RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE)
        writer.writeframes(array("h", map(round, samples)).tobytes())
    return Conversation.from_prompt(QUESTION, Audio(file.getvalue(), 1.0))


class HearingCheck:
    """Tries the routes of a server with a sound, once.

    Args:
        client: Client of the server.
        options: Options of the connection.
    """

    def __init__(self, client: Client, options: HttpOptions) -> None:
        self._client, self._options = client, options
        self._checking = anyio.Lock()

    async def known(self, current: Callable[[], ServerInfo]) -> ServerInfo:
        """Return what is known of the server, with whether it hears.

        Args:
            current: Returns the results of the last probe.

        Raises:
            EngineLost: If the server cannot be reached.
        """
        async with self._checking:
            info = current()
            if info.hearing is not None:
                return info
            found = await self._hearing(info)
            now = current()  # another probe may have replaced it
            return replace(info, hearing=found) if now is info else now

    async def _hearing(self, info: ServerInfo) -> Hearing:
        taking = [route for route in info.routes if route.takes(heard_conversation())]
        if not taking:
            return Hearing((), "its chat template needs a route that takes no sound")
        counted = CountedPrompts(self._client, self._options, info.model)
        found, problems = list[Route](), list[str]()
        for route in taking:
            without = await counted.length(route, await route.opened(TALK))
            try:
                problem = await self._problem(info, route, counted, without)
            except EngineLost:
                raise
            except (EngineError, Unsupported) as error:  # text alone was accepted
                problem = str(error)
            if problem:
                problems.append(problem)
            else:
                found.append(route)
        return Hearing(tuple(found), "" if found else problems[0] + _hint(info))

    async def _problem(
        self, info: ServerInfo, route: Route, counted: CountedPrompts, without: int
    ) -> str:
        """Return why sounds cannot be sent by a route, empty if they can.

        Args:
            info: Results of probing the server.
            route: The route.
            counted: Prompts by their lengths.
            without: Tokens of the prompt without the sound.
        """
        talk = heard_conversation()
        if await counted.length(route, await route.opened(talk)) <= without:
            return "its server ignores sound"
        prompts: Prompts = counted
        if info.shown and info.server.render is not None:
            prompts = RenderedPrompts(self._client, self._options, info.model, info.server.render)
        if (await prompts.match(route, talk)).inserted is not None:
            return "its chat template does not continue texts after a sound"
        return ""


def _hint(info: ServerInfo) -> str:
    """Return what to do about a server that refuses sound for a model that hears."""
    if not recognize(info.model).hears:
        return ""
    option = "--limit-mm-per-prompt audio=1" if info.server is VLLM else "its audio encoder"
    return f"; models of this family hear: start the server with {option}"
