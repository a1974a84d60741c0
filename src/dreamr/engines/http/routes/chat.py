"""Route by the chat completions endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dreamr.conversation import Conversation
from dreamr.engines.http.answer_fields import tool_fields
from dreamr.engines.http.messages import messages, text_message
from dreamr.engines.http.routes.route import Asking, Body, Kind, OpenAiRoute, inside
from dreamr.engines.http.servers import Json, Server


@dataclass(frozen=True, slots=True)
class ChatRoute(OpenAiRoute):
    """Requests to the chat completions endpoint, rendered by the server's chat template.

    Attributes:
        server: Kind of server.
        asking: Place of the judge prompt. 'turn': the user's next turn. 'inside': within the
            assistant's turn, for templates that drop earlier assistant turns, as those of
            reasoning models do.
        flags: Fields of every request that switch thinking on or off.
        judging: Fields of a judge prompt in the user's next turn, which keep the model from
            thinking before its verdict.
        kind: Kind of conversations that the route takes.
        trims: Whether the template removes white space at the end of a continued text.
        trims_start: Whether it removes white space at the beginning.
        opens: Whether the template opens the assistant's turn inside a thought.
    """

    name: ClassVar[str] = "chat"
    path: ClassVar[str] = "/chat/completions"

    server: Server
    asking: Asking = "turn"
    flags: Json = field(default_factory=dict)
    judging: Json = field(default_factory=dict)
    kind: Kind = "any"
    trims: bool = False
    trims_start: bool = False
    opens: bool = False

    def takes(self, conversation: Conversation) -> bool:
        """Check whether the conversation is of the route's kind."""
        if conversation.video_files and not self.server.video_part:
            return False
        return self.kind == "any" or (self.kind == "images") == bool(conversation.images)

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        server = self.server
        turns = messages(conversation, audio_urls=server.audio_urls, video=server.video_part)
        return {"messages": turns, **self.flags, **tool_fields(conversation)}

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        body = await self.opened(conversation)
        if not prefix:
            return body
        turns = [*body["messages"], text_message("assistant", prefix)]
        return {**body, "messages": turns, **self.server.continuing}

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
        return {**body, "messages": turns, **self.judging}

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": True, "top_logprobs": count}
