"""How a server's prompts are seen: as rendered text, or only as token counts.

How a chat template continues a known prefix is tested, not assumed. Templates of reasoning models
insert a closed think block before the continuation, or drop the text of earlier turns. If the
server exposes rendered prompts, these are compared; otherwise their token counts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from dreamr.conversation import Conversation, Image
from dreamr.engines.http.client import Client
from dreamr.engines.http.fields import Field
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.routes import Body, Route
from dreamr.errors import EngineError

QUESTION = "qzuserqz"
TALK = Conversation.from_prompt(QUESTION)
SEEN = Conversation.from_prompt(QUESTION, Image(bytes([128]) * 64 * 64 * 3, 64, 64))
STEP = "Two and two make four.\n\n"
_INDENTED = f"\n {STEP}"
_THOUGHT = "<think>\nIt is a sum.\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Match:
    """How a continued turn compares with the opened one followed by the prefix.

    Attributes:
        inserted: Text between the two; None if there is none.
        trims: Whether white space at the end of the prefix is missing.
    """

    inserted: str | None = None
    trims: bool = False

    @property
    def exact(self) -> bool:
        """Whether the prefix is continued unchanged."""
        return self.inserted is None and not self.trims


class Prompts(Protocol):
    """Compares the prompts that a server makes of a route's requests."""

    async def match(self, route: Route, conversation: Conversation = TALK) -> Match:
        """Compare a continued turn with the opened one followed by the prefix."""
        ...

    async def begins(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Check whether white space at the beginning of a prefix is kept."""
        ...

    async def keeps(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Check whether a prompt that asks about a step begins with the prompt that wrote it."""
        ...


@dataclass(frozen=True, slots=True)
class RenderedPrompts:
    """Prompts of a server that exposes them as text.

    Attributes:
        client: Client of the server.
        options: Its address.
        model: Name of the model.
        render: Endpoint that returns rendered prompts.
    """

    client: Client
    options: HttpOptions
    model: str
    render: str

    async def opening(self, route: Route, conversation: Conversation = TALK) -> str:
        """Return the prompt of an opened turn.

        Raises:
            EngineError: If the server does not expose it.
        """
        return await self.text({"add_generation_prompt": True, **await route.opened(conversation)})

    async def match(self, route: Route, conversation: Conversation = TALK) -> Match:
        """Compare a continued turn with the opened one followed by the prefix."""
        opening = await self.opening(route, conversation)
        continued = await self.text(await route.continued(conversation, STEP))
        if continued == opening + STEP:
            return Match()
        if continued == opening + STEP.rstrip():
            return Match(trims=True)
        return Match(_inserted(opening, continued))

    async def begins(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Check whether white space at the beginning of a prefix is kept."""
        opening = await self.opening(route, conversation)
        continued = await self.text(await route.continued(conversation, _INDENTED))
        return continued.startswith(opening + _INDENTED.rstrip())

    async def keeps(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Check whether a prompt that asks about a step begins with the prompt that wrote it.

        Steps in front of which a thought ended are tried too: templates may drop the thought. A
        prompt that opens a thought leaves no place for a verdict.
        """
        opening = await self.opening(route, conversation)
        for text in (STEP, _THOUGHT + STEP):
            body = await route.with_question(conversation, text, "?")
            asked = await self.text({"add_generation_prompt": True, **body})
            if not asked.startswith(opening + text.rstrip()) or asked.endswith("<think>\n"):
                return False
        return True

    async def text(self, body: Body) -> str:
        """Return the prompt that the server makes of a request.

        Raises:
            EngineError: If the server does not expose it: it is old, or the endpoint is disabled.
        """
        if isinstance(prompt := body.get("prompt"), str):
            return prompt
        if (tokens := body.get("token_ids")) is not None:
            return await self.decoded(tokens)
        if self.render == "apply-template":
            url = f"{self.options.root}/apply-template"
            return _prompt(await self.client.post(url, body), url)
        return await self.decoded(await self.tokens(body))

    async def send(self, route: Route, body: Body) -> None:
        """Send a request for one token.

        Raises:
            EngineError: If the server refuses it.
        """
        url = route.url(self.options)
        request = {"model": self.model, "max_tokens": 1, "temperature": 0, **body}
        route.read(await self.client.post(url, route.form(request)), url)

    async def placeholder(self, route: Route, conversation: Conversation) -> str | None:
        """Return the text that stands for the image of a conversation, None if it is unknown.

        Prompts are shown with the placeholder of an image repeated for each of its tokens.

        Args:
            route: Route by the chat completions endpoint.
            conversation: One question, whose image follows the text `QUESTION`.
        """
        if self.render != "tokenize":
            return None
        body = {"add_generation_prompt": True, **await route.opened(conversation)}
        single = [token for token, _ in groupby(await self.tokens(body))]
        shown = await self.decoded(single)
        plain = await self.opening(route)
        before, _, after = plain.partition(QUESTION)
        start, end = f"{before}{QUESTION}", after
        if not (shown.startswith(start) and shown.endswith(end)):
            return None
        return shown[len(start) : len(shown) - len(end)] or None

    async def tokens(self, body: Body) -> list[object]:
        """Return the ids of the tokens of a request's prompt.

        Raises:
            EngineError: If the server does not expose them.
        """
        url = f"{self.options.root}/tokenize"
        answer = await self.client.post(url, {"model": self.model, **body})
        return [token.value for token in Field(answer, url).get("tokens").items()]

    async def decoded(self, tokens: Sequence[object]) -> str:
        """Return the text of tokens, special ones included.

        Raises:
            EngineError: If the server does not expose it.
        """
        url = f"{self.options.root}/detokenize"
        # By default, SGLang leaves special tokens out.
        body = {"model": self.model, "tokens": list(tokens), "skip_special_tokens": False}
        return _prompt(await self.client.post(url, body), url)

    @property
    def counted(self) -> CountedPrompts:
        """The same prompts by their lengths, which also count the tokens of images."""
        return CountedPrompts(self.client, self.options, self.model)


@dataclass(frozen=True, slots=True)
class CountedPrompts:
    """Prompts of a server that only reports their length.

    Attributes:
        client: Client of the server.
        options: Its address.
        model: Name of the model.
    """

    client: Client
    options: HttpOptions
    model: str

    async def match(self, route: Route, conversation: Conversation = TALK) -> Match:
        """Compare the lengths of an opened turn and of two continued ones."""
        opened = await self.length(route, await route.opened(conversation))
        once = await self.length(route, await route.continued(conversation, STEP))
        twice = await self.length(route, await route.continued(conversation, STEP * 2))
        more = once - opened - (twice - once)
        return Match(f"{more:+d} tokens" if more else None)

    async def begins(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Assume that white space at the beginning of a prefix is kept: a length does not tell."""
        return True

    async def keeps(self, route: Route, conversation: Conversation = TALK) -> bool:
        """Check whether a prompt that asks about a step grows with the step."""
        once = await self.length(route, await route.continued(conversation, STEP))
        twice = await self.length(route, await route.continued(conversation, STEP * 2))
        asked = await self.length(route, await route.with_question(conversation, STEP, "?"))
        longer = await self.length(route, await route.with_question(conversation, STEP * 2, "?"))
        return longer - asked == twice - once

    async def length(self, route: Route, body: Body) -> int:
        """Return the length of a request's prompt in tokens.

        Raises:
            EngineError: If the server does not report it.
        """
        url = route.url(self.options)
        request = {"model": self.model, "max_tokens": 1, "temperature": 0, **body}
        count = route.read(await self.client.post(url, route.form(request)), url).usage.prompt
        if count is None:
            raise EngineError(
                f"{self.options.base} does not report prompt_tokens, so dreamr cannot check that "
                "it continues texts: use vLLM, SGLang, llama.cpp or Ollama"
            )
        return count


def _inserted(opening: str, continued: str) -> str:
    """Return the text between the opened turn and the prefix.

    If the template changed the end of the opening, the changed text is included.
    """
    shared = 0
    while shared < min(len(opening), len(continued)) and opening[shared] == continued[shared]:
        shared += 1
    return continued[shared:]


def _prompt(answer: object, url: str) -> str:
    """Return a rendered prompt.

    Raises:
        EngineError: If there is none.
    """
    prompt = Field(answer, url).get("prompt", "text")  # the latter is SGLang's
    if not prompt.text():
        raise prompt.unreadable("text")
    return prompt.text()
