"""Route by vLLM's endpoint for prompts given as tokens, of servers with `--enable-scale-out`.

The server renders a conversation once. Its tokens, followed by those of the assistant's text, are
the prompt of every request, so no chat template changes them. The data of images is sent with the
first request of a conversation; later ones name it by its hash.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dreamr._concurrency import gather_bounded
from dreamr.conversation import Conversation
from dreamr.engines.http.answer_fields import tool_fields
from dreamr.engines.http.client import Client
from dreamr.engines.http.fields import Field
from dreamr.engines.http.messages import messages
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.routes.route import Body, OpenAiRoute, inside
from dreamr.engines.http.servers import Json

_KEPT = 256  # rendered conversations
_TEXTS = 1024  # tokenized texts
_AT_ONCE = 16  # texts that are tokenized side by side
# A rendered image has about 17 bytes a pixel. Servers may enlarge small ones or cut them in tiles.
_BYTES_PER_PIXEL, _FEWEST_PIXELS = 64, 2**20
_OUTSIDE = frozenset({"model", "stream", "stream_options", "cache_salt", "token_ids", "features"})
_DATA = ("kwargs_data", "mm_metadata")


@dataclass(slots=True)
class _Opening:
    """A rendered conversation.

    Attributes:
        tokens: Tokens of the prompt.
        features: Hashes and places of its images, None if there are none.
        data: Their data, None once the server has it.
    """

    tokens: list[Any]
    features: Body | None
    data: Body | None


@dataclass(frozen=True, slots=True)
class TokensRoute(OpenAiRoute):
    """Requests whose prompts are tokens.

    Attributes:
        client: Client of the server.
        options: Its address.
        model: Name of the model.
        flags: Fields of every rendering that switch thinking on or off.
        opens: Whether the template opens the assistant's turn inside a thought.
    """

    name: ClassVar[str] = "tokens"
    trims: ClassVar[bool] = False

    client: Client
    options: HttpOptions
    model: str
    flags: Json = field(default_factory=dict)
    opens: bool = False
    _openings: OrderedDict[Conversation, _Opening] = field(
        default_factory=OrderedDict, compare=False
    )
    _texts: OrderedDict[str, list[Any]] = field(default_factory=OrderedDict, compare=False)

    def url(self, options: HttpOptions) -> str:
        """Return the address of the endpoint."""
        return f"{options.root}/inference/v1/generate"

    def takes(self, conversation: Conversation) -> bool:
        """Check whether the conversation has no sounds and videos, which were never tried."""
        return not (conversation.sounds or conversation.video_files)

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return await self.continued(conversation, "")

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        opening = await self._opening(conversation)
        body: Body = {"token_ids": [*opening.tokens, *await self._tokens(prefix)]}
        if opening.features is not None:
            body["features"] = {**opening.features, **(opening.data or {})}
        return body

    async def in_pieces(
        self, conversation: Conversation, texts: Sequence[str]
    ) -> tuple[Body, list[int]]:
        """Return a request that continues the assistant's turn, with its text in pieces.

        Returns:
            The body of the request, and the number of tokens up to the end of each piece.
        """
        opened = await self.opened(conversation)
        prompt, ends = list(opened["token_ids"]), []
        for piece in await gather_bounded(texts, self._tokens, _AT_ONCE):
            prompt += piece
            ends.append(len(prompt))
        return {**opened, "token_ids": prompt}, ends

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return await self.continued(conversation, inside(text, question))

    async def _opening(self, conversation: Conversation) -> _Opening:
        if (known := self._openings.get(conversation)) is not None:
            return known
        url = f"{self.options.base}/chat/completions/render"
        # Rendering goes around the cache of images.
        turns = messages(conversation, whole_images=True)
        body = {"model": self.model, "messages": turns, **self.flags, **tool_fields(conversation)}
        pixels = sum(max(one.width * one.height, _FEWEST_PIXELS) for one in conversation.images)
        response = await self.client.post(url, body, more_bytes=_BYTES_PER_PIXEL * pixels)
        answer = Field(response, url)
        tokens = [token.value for token in answer.get("token_ids").items()]
        if not tokens:
            raise answer.get("token_ids").unreadable("tokens")
        features = dict(answer.get("features").fields())
        data = {name: features.pop(name, None) for name in _DATA}
        opening = _Opening(tokens, features or None, data if features else None)
        self._openings[conversation] = opening
        if len(self._openings) > _KEPT:
            self._openings.popitem(last=False)
        return opening

    async def _tokens(self, text: str) -> list[Any]:
        """Return the tokens of a part of the assistant's text."""
        if not text:
            return []
        if (known := self._texts.get(text)) is not None:
            return known
        url = f"{self.options.root}/tokenize"
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        answer = Field(await self.client.post(url, body), url)
        tokens = [token.value for token in answer.get("tokens").items()]
        self._texts[text] = tokens
        if len(self._texts) > _TEXTS:
            self._texts.popitem(last=False)
        return tokens

    def note(self, conversation: Conversation, *, answered: bool) -> None:
        """Send hashes only once the server has the data, and the data again if it lost it."""
        opening = self._openings.get(conversation)
        if opening is None or opening.features is None:
            return
        if answered:
            opening.data = None
        else:
            del self._openings[conversation]

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": count}

    def form(self, body: Body) -> Body:
        """Return a body with the names of fields that the endpoint has."""
        outside = {name: value for name, value in body.items() if name in _OUTSIDE}
        sampling = {name: value for name, value in body.items() if name not in _OUTSIDE}
        return {**outside, "sampling_params": sampling, "output_mode": "text"}
