"""Choose the routes of a server: the first exact ones that take every kind of conversation."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from dreamr._families import Family, recognize
from dreamr._messages import one_line, short_path
from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines.http.candidates import candidates
from dreamr.engines.http.rendering import QUESTION, SEEN, TALK, Prompts, RenderedPrompts
from dreamr.engines.http.retries import is_busy
from dreamr.engines.http.routes import ChatRoute, Route
from dreamr.engines.http.servers import VLLM, Json, Server
from dreamr.engines.http.trials import Candidate, Rejected, Trial
from dreamr.engines.protocol import Thinking
from dreamr.errors import EngineError, EngineLost, Unsupported

LOG = logging.getLogger("dreamr.engines.http")


@dataclass(frozen=True, slots=True)
class Selected:
    """Routes of a server.

    Attributes:
        routes: Routes in order of preference; none if no route continues a text.
        inserted: What the chat template inserts before a continued prefix; None if nothing.
        sees: Whether the model takes images; None if this was not tried.
        quiet_about_images: Whether the model thinks, but not about images.
    """

    routes: tuple[Route, ...]
    inserted: str | None
    sees: bool | None
    quiet_about_images: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Tries the routes of a server.

    Attributes:
        server: Kind of server.
        model: Name of the model.
        prompts: How the server's prompts are seen.
        thinking: Whether the model should think.
        switching: Whether the server takes fields that switch thinking, as far as it is known.
    """

    server: Server
    model: str
    prompts: Prompts
    thinking: Thinking
    switching: bool = True

    async def run(self) -> Selected:
        """Return the routes that continue texts."""
        family = recognize(self.model)
        off = self._flags(family, on=False)
        trial = Trial(self.server, self.prompts, judging=off)
        if self.thinking != "auto":
            own = self._flags(family, on=True) if self.thinking == "on" else off
            trial = replace(trial, flags=own)
            selected = await self._select(trial)
            self._check(selected, family)
            return selected
        if _blinded_by_thinking(family) and off and (seen := await self._seen(trial)):
            plain = replace(trial, flags=off, kind="images", seen=seen)
            images = await self._select(plain)
            text = await self._select(replace(trial, kind="text", seen=seen))
            routes = (*text.routes, *images.routes)
            return Selected(routes, text.inserted or images.inserted, True, True)
        return await self._select(trial)

    def _flags(self, family: Family, *, on: bool) -> Json:
        """Return the fields that switch thinking, none if there is nothing to switch."""
        if not self._switches or family.thinks in ("never", "always"):
            return {}
        known = dict(family.thinking if on else family.no_thinking)
        if self.server is VLLM and "reasoning_effort" in known:
            return known  # vLLM refuses template variables if it uses a Mistral tokenizer
        return {"chat_template_kwargs": known or {"enable_thinking": on}}

    @property
    def _switches(self) -> bool:
        """Whether the server has fields that switch thinking."""
        return bool(self.server.plain) and self.switching

    def _check(self, selected: Selected, family: Family) -> None:
        """Warn if thinking cannot be switched."""
        always = family.thinks == "always" or any(route.opens for route in selected.routes)
        if self.thinking == "off" and always:
            LOG.warning(
                "--thinking off has no effect on %s, which always thinks: serve an instruct model",
                short_path(self.model),
            )
        elif not self._switches and family.thinks not in ("never", "always"):
            reason = "it switches models on vLLM, SGLang and llama.cpp only"
            if not self.switching:
                reason = "the server takes no chat_template_kwargs"
            LOG.warning(
                "--thinking %s has no effect on %s: %s",
                self.thinking,
                short_path(self.model),
                reason,
            )

    async def _select(self, trial: Trial) -> Selected:
        """Return the first routes that together take every kind of conversation."""
        exact: list[Route] = []
        trimming: list[Route] = []  # at the end of a text
        at_both_ends: list[Route] = []
        inserted, sees = None, None if not trial.seen else True
        for number, candidate in enumerate(candidates(self.server)):
            if number == 1 and not trial.seen:  # only now, as chat is exact in most cases
                trial = replace(trial, seen=await self._seen(trial))
                sees = bool(trial.seen)
            match await (_tried(candidate, trial) if number else candidate(trial)):
                case Rejected(reason):
                    inserted = inserted or reason
                case ChatRoute(trims_start=True) as route:
                    at_both_ends.append(route)
                case route:
                    (trimming if route.trims else exact).append(route)
            if _covered(exact, trial):
                break
        return Selected((*exact, *trimming, *at_both_ends), inserted, sees)

    async def _seen(self, trial: Trial) -> tuple[Conversation, ...]:
        """Return conversations with images, none if the model takes none."""
        if not isinstance(self.prompts, RenderedPrompts):
            return ()
        try:
            await self.prompts.opening(trial.chat, image_conversations()[0])
        except EngineLost:
            raise
        except (EngineError, Unsupported) as error:
            if is_busy(error):
                raise
            return ()
        return image_conversations()


async def _tried(candidate: Candidate, trial: Trial) -> Route | Rejected:
    """Return what comes of a trial; a route whose requests the server refuses is rejected.

    Not for the first route: if the server refuses chat, that is the error to report.
    """
    try:
        return await candidate(trial)
    except EngineLost:
        raise
    except (EngineError, Unsupported) as error:
        if is_busy(error):
            raise
        LOG.debug("%s does not work: %s", candidate.__name__, error)
        return Rejected()


def _blinded_by_thinking(family: Family) -> bool:
    """Check whether the models of a family are better at images without thinking."""
    return family.name.startswith("Qwen") and family.thinks == "default"


def _covered(routes: Iterable[Route], trial: Trial) -> bool:
    """Check whether every kind of conversation of a trial has a route."""
    text = () if trial.kind == "images" else (TALK,)
    images = () if trial.kind == "text" else image_conversations()
    return all(any(route.takes(talk) for route in routes) for talk in (*text, *images))


@cache
def image_conversations() -> tuple[Conversation, ...]:
    """Return conversations about an image, one of each form that templates may treat differently.

    The image comes before the question, in an earlier turn, and after the question.
    """
    [image] = SEEN.images
    return (
        SEEN,
        Conversation(
            (
                *Conversation.from_prompt("What is it?", image).turns,
                Turn("assistant", (Text("A circle."),)),
                Turn("user", (Text(QUESTION),)),
            )
        ),
        Conversation((Turn("user", (Text(QUESTION), image)),)),
    )


def refusal(model: str, inserted: str, where: str = "") -> str:
    """Return the message about a model whose texts cannot be continued."""
    return (
        f"the chat template of {short_path(model)} does not continue the assistant's text "
        f"unchanged{where} (it adds {one_line(inserted)!r}): serve an instruct model, such as "
        "Qwen3-VL-Instruct, or start the server with another --chat-template, or vLLM with "
        "--enable-scale-out"
    )
