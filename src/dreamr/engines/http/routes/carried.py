"""Route by the chat completions endpoint, with the assistant's text in the user's message.

vLLM continues the last message of a chat, also one of a user. Templates of reasoning models change
an assistant's text, but hardly a user's. The last question is therefore followed by what the
template writes between a question and the assistant's text (the bridge), and by that text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from dreamr.conversation import Conversation
from dreamr.engines.http.answer_fields import tool_fields
from dreamr.engines.http.messages import messages
from dreamr.engines.http.routes.route import Body, OpenAiRoute, inside
from dreamr.engines.http.servers import Json

_GOING_ON = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True, slots=True)
class CarriedRoute(OpenAiRoute):
    """Requests to the chat completions endpoint, whose last user message carries the text.

    Attributes:
        bridge: What the chat template writes between a question and the assistant's text.
        flags: Fields of every request that switch thinking on or off.
        placeholder: Text that stands for an image in a prompt. If it is given, it is written into
            the message, and the images come last, because templates that trim a message then keep
            the white space at the end of the text. Needs an image in the last message. None: the
            images keep their places.
        joined: Whether the text joins the last text of the message, for templates that show the
            images of a message before its texts.
        strips: Whether the template trims the questions of users.
        trims: Whether the template removes white space at the end of a continued text.
        opens: Whether the template opens the assistant's turn inside a thought.
    """

    name: ClassVar[str] = "carried"
    path: ClassVar[str] = "/chat/completions"

    bridge: str
    flags: Json = field(default_factory=dict)
    placeholder: str | None = None
    joined: bool = False
    strips: bool = False
    trims: bool = False
    opens: bool = False

    def takes(self, conversation: Conversation) -> bool:
        """Check whether the conversation has an image, sound or video, for which the route is.

        With a placeholder, it needs an image in the last turn, and nothing else there. The bridge
        follows a question, not the result of a call.
        """
        if conversation.turns[-1].role != "user":
            return False
        if self.placeholder is None:
            return bool(conversation.images or conversation.sounds or conversation.video_files)
        last = Conversation(conversation.turns[-1:])
        return bool(last.images) and not (last.sounds or last.video_files)

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return {"messages": messages(conversation), **self.flags, **tool_fields(conversation)}

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        body = await self.opened(conversation)
        if not prefix:
            return body
        *turns, last = body["messages"]
        carrying = {**last, "content": self._carrying(last["content"], self.bridge + prefix)}
        return {**body, "messages": [*turns, carrying], **_GOING_ON}

    def _carrying(self, content: Any, text: str) -> Any:
        """Return the content of a user's message, followed by a text."""
        if isinstance(content, str):
            return (content.strip() if self.strips else content) + text
        if self.placeholder is None:
            texts = [place for place, part in enumerate(content) if part["type"] == "text"]
            if not texts or not (self.joined or texts[-1] == len(content) - 1):
                return [*content, {"type": "text", "text": text}]
            place = texts[-1]  # templates may separate two texts
            said = content[place]["text"].rstrip() if self.strips else content[place]["text"]
            carrying = {"type": "text", "text": said + text}
            return [*content[:place], carrying, *content[place + 1 :]]
        said = "".join(
            part["text"] if part["type"] == "text" else self.placeholder for part in content
        )
        said = said.strip() if self.strips else said
        images = [part for part in content if part["type"] != "text"]
        return [{"type": "text", "text": said + text}, *images]

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return await self.continued(conversation, inside(text, question))

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": True, "top_logprobs": count}
