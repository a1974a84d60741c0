"""Route by the text completions endpoint."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar

from dreamr.conversation import Conversation
from dreamr.engines.http.answer_fields import tool_fields
from dreamr.engines.http.messages import messages
from dreamr.engines.http.routes.route import Body, OpenAiRoute, inside
from dreamr.engines.http.servers import Json

_KEPT = 256  # rendered conversations


@dataclass(frozen=True, slots=True)
class TextRoute(OpenAiRoute):
    """Requests to the text completions endpoint, after a prompt that the server rendered once.

    For chat templates that insert text between the prefix and its continuation. The endpoint has
    neither images nor sounds: some servers ignore them silently.

    Attributes:
        opening: Rendered prompt of the probe's question.
        mark: That question, which is replaced by the user's in conversations of one turn.
        render: Returns the prompt that the server makes of the body of a chat request.
        flags: Fields of every request that switch thinking on or off.
        opens: Whether the template opens the assistant's turn inside a thought.
    """

    name: ClassVar[str] = "text"
    path: ClassVar[str] = "/completions"
    trims: ClassVar[bool] = False

    opening: str
    mark: str
    render: Callable[[Body], Awaitable[str]]
    flags: Json = field(default_factory=dict)
    opens: bool = False
    _rendered: OrderedDict[Conversation, str] = field(default_factory=OrderedDict, compare=False)

    def takes(self, conversation: Conversation) -> bool:
        """Check whether the conversation has neither images nor sounds nor video files."""
        return not (conversation.images or conversation.sounds or conversation.video_files)

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return await self.continued(conversation, "")

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        return {"prompt": await self._opening(conversation) + prefix, "add_special_tokens": False}

    async def _opening(self, conversation: Conversation) -> str:
        turns = messages(conversation)
        if len(turns) == 1 and turns[0]["role"] == "user" and not conversation.tools:
            asked = turns[0]["content"]
            if asked == asked.strip():  # templates may trim it
                return self.opening.replace(self.mark, asked)
        if (known := self._rendered.get(conversation)) is not None:
            return known
        body = {"messages": turns, "add_generation_prompt": True, **self.flags}
        body |= tool_fields(conversation)
        opening = self._rendered[conversation] = await self.render(body)
        if len(self._rendered) > _KEPT:
            self._rendered.popitem(last=False)
        return opening

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return await self.continued(conversation, inside(text, question))

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": count}
