"""Route by the text completions endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.conversation import Conversation
from dreamr.engines.http.messages import messages
from dreamr.engines.http.routes.route import Body, OpenAiRoute, inside


@dataclass(frozen=True, slots=True)
class TextRoute(OpenAiRoute):
    """Requests to the text completions endpoint, after a prompt that the server rendered once.

    For chat templates that insert text between the prefix and its continuation. Supports single
    questions without images only.

    Attributes:
        opening: Rendered prompt of the probe's conversation.
        mark: The probe's question, which is replaced by the user's.
    """

    name: ClassVar[str] = "text"
    path: ClassVar[str] = "/completions"

    opening: str
    mark: str

    def takes(self, conversation: Conversation) -> bool:
        """Check whether the conversation is a single question without images."""
        return len(conversation.turns) == 1 and not conversation.images

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return await self.continued(conversation, "")

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        [turn] = messages(conversation)
        prompt = self.opening.replace(self.mark, turn["content"]) + prefix
        return {"prompt": prompt, "add_special_tokens": False}

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return await self.continued(conversation, inside(text, question))

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": count}
