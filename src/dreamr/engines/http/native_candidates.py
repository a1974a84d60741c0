"""Routes by the own endpoints of llama.cpp and SGLang."""

from __future__ import annotations

from dataclasses import replace

from dreamr.engines.http.fields import Field
from dreamr.engines.http.rendering import SEEN, TALK, RenderedPrompts
from dreamr.engines.http.routes import ChatRoute, CompletionRoute, GenerateRoute, Route
from dreamr.engines.http.trials import Rejected, Trial
from dreamr.errors import EngineError, EngineLost, Unsupported

_OLD_MARKER = "<__media__>"  # of llama.cpp before it drew one


async def completion(trial: Trial) -> Route | Rejected:
    """Return the route by llama.cpp's /completion if it sees the prompts that chat sees."""
    prompts = trial.prompts
    if not isinstance(prompts, RenderedPrompts):
        return Rejected()
    url = f"{prompts.options.root}/props"
    props = Field(await prompts.client.get(url), url)
    marker = props.get("media_marker").text() or _OLD_MARKER
    kinds = props.get("modalities")
    sees = isinstance(kinds.value, dict) and kinds.get("vision").value is True
    chat = replace(trial.chat, opens=await trial.opens())
    route = CompletionRoute(chat, prompts.text, marker)
    return route if await _same_lengths(route, chat, prompts, sees=sees) else Rejected()


async def generate(trial: Trial) -> Route | Rejected:
    """Return the route by SGLang's /generate if it sees the prompts that chat sees."""
    prompts = trial.prompts
    if not isinstance(prompts, RenderedPrompts):
        return Rejected()
    chat = replace(trial.chat, opens=await trial.opens())
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
