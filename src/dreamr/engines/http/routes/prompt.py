"""Base of routes to endpoints that take a rendered prompt, with its images beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dreamr.conversation import Conversation
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.media_parts import MediaReference
from dreamr.engines.http.messages import Message
from dreamr.engines.http.routes.chat import ChatRoute
from dreamr.engines.http.routes.route import Body, Reader, inside

Render = Callable[[Body], Awaitable[str]]
_KEPT = 256  # rendered conversations
# Rendering only needs to know where an image is: one white pixel.
_BLANK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+k"
    "cQAAAABJRU5ErkJggg=="
)


class PromptRoute(ABC):
    """Requests with a prompt that the server rendered once for each conversation.

    A prefix is appended to the prompt as it is, so thoughts stay open, and images keep the places
    that the chat template gives them. The judge prompt is part of the assistant's own text.

    Args:
        chat: Route by chat completions, whose requests are rendered.
        render: Returns the prompt that the server makes of such a request.
    """

    def __init__(self, chat: ChatRoute, render: Render) -> None:
        self._chat, self._render = chat, render
        self._known: OrderedDict[int, str] = OrderedDict()  # prompts, by a conversation's hash

    def takes(self, conversation: Conversation) -> bool:
        """Check whether conversations of this kind can be continued by this route."""
        chat_only = conversation.sounds or conversation.video_files
        return self._chat.takes(conversation) and not chat_only

    @property
    def trims(self) -> bool:
        """Whether the server removes white space at the end of a continued text: it does not."""
        return False

    @property
    def opens(self) -> bool:
        """Whether the assistant's turn is opened inside a thought."""
        return self._chat.opens

    def note(self, conversation: Conversation, *, answered: bool) -> None:
        """Ignore whether the server answered: the endpoint keeps no state of a conversation."""
        del conversation, answered

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return await self.continued(conversation, "")

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        body = await self._chat.opened(conversation)
        images = [part["image_url"] for part in _image_parts(body["messages"])]
        key = hash(conversation)
        if key not in self._known:
            turns = [_blanked(message) for message in body["messages"]]
            request = {**body, "messages": turns, "add_generation_prompt": True}
            self._known[key] = await self._render(request)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._body(self._known[key] + prefix, images)

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return await self.continued(conversation, inside(text, question))

    def reader(self) -> Reader:
        """Return the function that reads the events of one stream."""
        return self.read

    @abstractmethod
    def read(self, value: object, url: str) -> Completion:
        """Read a response."""

    @abstractmethod
    def _body(self, prompt: str, images: Sequence[MediaReference]) -> Body:
        """Return the body of a request for the continuation of a prompt.

        Args:
            prompt: Rendered prompt, with a placeholder for each image.
            images: The images.
        """


def _image_parts(turns: Sequence[Message]) -> list[dict[str, Any]]:
    contents = [turn["content"] for turn in turns if isinstance(turn["content"], list)]
    return [part for content in contents for part in content if part["type"] == "image_url"]


def _blanked(turn: Message) -> Message:
    """Return a message whose images have one pixel."""
    if isinstance(turn["content"], str):
        return turn
    blank = {"type": "image_url", "image_url": {"url": _BLANK}}
    parts = [blank if part["type"] == "image_url" else part for part in turn["content"]]
    return {**turn, "content": parts}
