"""Chat requests that continue reasoning, for routes that are not by chat.

Only the chat endpoint parses calls of tools. The last message of the conversation, a user's or the
result of a call, is followed by what the chat template writes between it and the assistant's text
(the bridge), and by that text: vLLM continues the last message of a chat, of any role.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dreamr.conversation import Conversation
from dreamr.engines.http.answer_fields import tool_fields
from dreamr.engines.http.messages import Message, messages
from dreamr.engines.http.routes import Body
from dreamr.engines.http.servers import Json

_MARK = "qzbridgeqz"
_GOING_ON = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True, slots=True)
class AnswerCarrier:
    """Builds chat requests whose last message carries the assistant's text.

    Attributes:
        render: Returns the prompt that the server makes of a chat request.
        flags: Fields of every request that switch thinking on or off.
    """

    render: Callable[[Body], Awaitable[str]]
    flags: Json

    async def continued(self, conversation: Conversation, prefix: str) -> Body | None:
        """Return the body of a request that continues the assistant's text; None if it cannot.

        Raises:
            EngineError: If the server does not show its prompts.
        """
        turns = messages(conversation)
        *before, last = turns
        body: Body = {"messages": turns, **self.flags, **tool_fields(conversation)}
        opening = {**body, "add_generation_prompt": True}
        plain = await self.render(opening)
        marked = await self.render({**opening, "messages": [*before, _with(last, _MARK)]})
        if marked.count(_MARK) != 1:
            return None
        bridge = marked.partition(_MARK)[2]
        said = _last_text(last)
        for text in (said, said.strip()):  # templates may trim messages
            if plain.endswith(f"{text}{bridge}"):
                carrying = _with(last, f"{bridge}{prefix}", text)
                return {**body, "messages": [*before, carrying], **_GOING_ON}
        return None


def _last_text(message: Message) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    last: Any = content[-1]
    return str(last["text"]) if last["type"] == "text" else ""


def _with(message: Message, text: str, said: str | None = None) -> Message:
    """Return a message followed by a text.

    Args:
        message: The message.
        text: The text.
        said: Replaces the last text of the message; None keeps it.
    """
    said = _last_text(message) if said is None else said
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": said + text}
    rest = content[:-1] if content[-1]["type"] == "text" else content
    return {**message, "content": [*rest, {"type": "text", "text": said + text}]}
