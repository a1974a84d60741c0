"""Request bodies: continue the assistant's text, or ask the judge prompt about a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dreamr.conversation import Conversation
from dreamr.engines.http.messages import messages, text_message
from dreamr.engines.http.servers import Server
from dreamr.errors import Unsupported

Body: TypeAlias = dict[str, Any]
Asking: TypeAlias = Literal["turn", "inside"]


@dataclass(frozen=True, slots=True)
class ChatRoute:
    """Requests to the chat completions endpoint, rendered by the server's chat template.

    Attributes:
        server: Kind of server.
        asking: Place of the judge prompt. 'turn': the user's next turn. 'inside': within the
            assistant's turn, for templates that drop earlier assistant turns, as those of
            reasoning models do.
        path: Path of the endpoint below the API's base URL.
    """

    server: Server
    asking: Asking = "turn"
    path: str = "/chat/completions"

    def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return {"messages": messages(conversation)}

    def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        if not prefix:
            return self.opened(conversation)
        turns = [*messages(conversation), text_message("assistant", prefix)]
        return {"messages": turns, **self.server.continuing}

    def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        if self.asking == "inside":
            return self.continued(conversation, inside(text, question))
        turns = [
            *messages(conversation),
            text_message("assistant", text),
            text_message("user", question),
        ]
        return {"messages": turns, **self.server.plain}

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": True, "top_logprobs": count}


@dataclass(frozen=True, slots=True)
class TextRoute:
    """Requests to the text completions endpoint, after a prompt that the server rendered once.

    For chat templates that insert text between the prefix and its continuation. Supports single
    questions without images only.

    Attributes:
        opening: Rendered prompt of the probe's conversation.
        mark: The probe's question, which is replaced by the user's.
        path: Path of the endpoint below the API's base URL.
    """

    opening: str
    mark: str
    path: str = "/completions"

    def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        return self.continued(conversation, "")

    def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix.

        Raises:
            Unsupported: If the conversation has several turns or an image.
        """
        turns = messages(conversation)
        if len(turns) != 1 or not isinstance(turns[0]["content"], str):
            raise Unsupported(
                "the model's chat template changes the assistant's text when it is continued, so "
                "only single questions without images can be asked: serve an instruct model, such "
                "as Qwen3-VL-Instruct"
            )
        prompt = self.opening.replace(self.mark, turns[0]["content"]) + prefix
        return {"prompt": prompt, "add_special_tokens": False}

    def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        return self.continued(conversation, inside(text, question))

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        return {"logprobs": count}


Route: TypeAlias = ChatRoute | TextRoute


def inside(text: str, question: str) -> str:
    """Append a judge prompt to the assistant's own text."""
    return f"{text.rstrip()}\n\n({question})\nVerdict:"
