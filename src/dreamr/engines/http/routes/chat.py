"""Route by the chat completions endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.conversation import Conversation
from dreamr.engines.http.messages import messages, text_message
from dreamr.engines.http.routes.route import Asking, Body, OpenAiRoute, inside
from dreamr.engines.http.servers import Server


@dataclass(frozen=True, slots=True)
class ChatRoute(OpenAiRoute):
    """Requests to the chat completions endpoint, rendered by the server's chat template.

    Attributes:
        server: Kind of server.
        asking: Place of the judge prompt. 'turn': the user's next turn. 'inside': within the
            assistant's turn, for templates that drop earlier assistant turns, as those of
            reasoning models do.
    """

    name: ClassVar[str] = "chat"
    path: ClassVar[str] = "/chat/completions"

    server: Server
    asking: Asking = "turn"

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return {"messages": messages(conversation)}

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        body = await self.opened(conversation)
        if not prefix:
            return body
        turns = [*body["messages"], text_message("assistant", prefix)]
        return {"messages": turns, **self.server.continuing}

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        if self.asking == "inside":
            return await self.continued(conversation, inside(text, question))
        body = await self.opened(conversation)
        turns = [
            *body["messages"],
            text_message("assistant", text),
            text_message("user", question),
        ]
        return {"messages": turns, **self.server.plain}

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": True, "top_logprobs": count}
