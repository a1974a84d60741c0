"""Routes that a server may have, in the order in which they are tried.

A candidate builds its route and verifies it. To add one: a function here or in a module of its own,
and its place in the order of its server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dreamr.conversation import Conversation
from dreamr.engines.http.native_candidates import completion, generate
from dreamr.engines.http.rendering import QUESTION, TALK, RenderedPrompts
from dreamr.engines.http.retries import is_busy
from dreamr.engines.http.routes import CarriedRoute, Route, TextRoute, TokensRoute
from dreamr.engines.http.servers import LLAMA_CPP, SGLANG, VLLM, Server
from dreamr.engines.http.trials import Candidate, Rejected, Trial
from dreamr.errors import EngineError, Unsupported
from dreamr.steps import opens_thought


async def chat(trial: Trial) -> Route | Rejected:
    """Return the route by chat completions if the template continues prefixes."""
    route = trial.chat
    match = await trial.prompts.match(route, trial.talk)
    if match.inserted is not None:
        return Rejected(match.inserted)
    begins = await trial.prompts.begins(route, trial.talk)
    opens = await trial.opens()
    route = replace(route, trims=match.trims, trims_start=not begins, opens=opens)
    if await trial.prompts.keeps(route, trial.talk):
        return route
    return replace(route, asking="inside")


async def tokens(trial: Trial) -> Route | Rejected:
    """Return the route by prompts of tokens if the server has it."""
    if not isinstance(trial.prompts, RenderedPrompts) or trial.kind != "any":
        return Rejected()
    prompts = trial.prompts
    route = TokensRoute(prompts.client, prompts.options, prompts.model, trial.flags)
    try:
        if not (await prompts.match(route)).exact:
            return Rejected()
        await prompts.send(route, await route.continued(TALK, "So"))
    except (EngineError, Unsupported) as error:
        # EngineLost too: disabled endpoints have status 403.
        if is_busy(error):
            raise
        return Rejected()
    return replace(route, opens=await trial.opens())


async def text(trial: Trial) -> Route | Rejected:
    """Return the route by text completions if the rendered prompt can be read."""
    if not isinstance(trial.prompts, RenderedPrompts) or trial.kind == "images":
        return Rejected()
    opening = await trial.prompts.opening(trial.chat)
    if opening.count(QUESTION) != 1:
        return Rejected()
    return TextRoute(opening, QUESTION, trial.prompts.text, trial.flags, await trial.opens())


async def carried(trial: Trial) -> Route | Rejected:
    """Return the route by the user's message, with images where they are."""
    base = await _carrying(trial)
    return base if isinstance(base, Rejected) else await _verified(trial, base, trial.seen)


async def carried_joined(trial: Trial) -> Route | Rejected:
    """Return the route by the user's message, with the text joined to its last text."""
    base = await _carrying(trial)
    if isinstance(base, Rejected):
        return base
    return await _verified(trial, replace(base, joined=True), trial.seen)


async def carried_before(trial: Trial) -> Route | Rejected:
    """Return the route by the user's message, with its images after the text."""
    base = await _carrying(trial)
    if isinstance(base, Rejected) or not isinstance(trial.prompts, RenderedPrompts):
        return Rejected()
    placeholder = await trial.prompts.placeholder(trial.chat, trial.seen[-1])
    if placeholder is None:
        return Rejected()
    route = replace(base, placeholder=placeholder)
    return await _verified(trial, route, [talk for talk in trial.seen if route.takes(talk)])


async def _carrying(trial: Trial) -> CarriedRoute | Rejected:
    """Return the route by the user's message, for images, not verified."""
    if not isinstance(trial.prompts, RenderedPrompts) or trial.kind == "text" or not trial.seen:
        return Rejected()
    opening = await trial.prompts.opening(trial.chat)
    if opening.count(QUESTION) != 1:
        return Rejected()
    bridge = opening.partition(QUESTION)[2]
    padded = await trial.prompts.opening(trial.chat, Conversation.from_prompt(f"{QUESTION} \n"))
    return CarriedRoute(
        bridge,
        trial.flags,
        strips=QUESTION + bridge in padded,
        opens=opens_thought(opening),
    )


async def _verified(
    trial: Trial, route: CarriedRoute, talks: Iterable[Conversation]
) -> Route | Rejected:
    """Return the route if the server continues all these conversations by it."""
    trims = False
    for talk in talks:
        match = await trial.prompts.match(route, talk)  # fails if a user's message is not continued
        if match.inserted is not None:
            return Rejected(match.inserted)
        trims = trims or match.trims
    return replace(route, trims=trims)


_ORDER: tuple[Candidate, ...] = (chat, text)
_ORDERS: Mapping[str, tuple[Candidate, ...]] = {  # of servers with endpoints of their own
    VLLM.name: (chat, tokens, text, carried, carried_joined, carried_before),
    SGLANG.name: (chat, generate, text),
    LLAMA_CPP.name: (chat, completion, text),
}


def candidates(server: Server) -> tuple[Candidate, ...]:
    """Return the routes to try on a server."""
    return _ORDERS.get(server.name, _ORDER)
