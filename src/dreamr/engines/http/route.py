"""How a request says what is to be continued, and what is asked about a step."""

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
    """By the chat template on the server's side.

    asking: where a judging question stands. 'turn': it is the user's next turn. 'inside': in the
    assistant's own, for templates that drop what the assistant said before (those of models that
    think).
    """

    server: Server
    asking: Asking = "turn"
    path: str = "/chat/completions"

    def opened(self, conversation: Conversation) -> Body:
        """The assistant's turn begins."""
        return {"messages": messages(conversation)}

    def continued(self, conversation: Conversation, prefix: str) -> Body:
        """The assistant's turn goes on behind the prefix."""
        if not prefix:
            return self.opened(conversation)
        turns = [*messages(conversation), text_message("assistant", prefix)]
        return {"messages": turns, **self.server.continuing}

    def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """The answer to a question about the end of the assistant's text comes next."""
        if self.asking == "inside":
            return self.continued(conversation, inside(text, question))
        turns = [
            *messages(conversation),
            text_message("assistant", text),
            text_message("user", question),
        ]
        return {"messages": turns, **self.server.plain}

    def tops(self, count: int) -> Body:
        """Ask for the most probable tokens."""
        return {"logprobs": True, "top_logprobs": count}


@dataclass(frozen=True, slots=True)
class TextRoute:
    """By plain completions behind a prompt that the server has rendered once: text alone.

    For templates that put something between what the model said and what it goes on to say.
    opening: of the probed conversation, with `mark` in the place of the user's words.
    """

    opening: str
    mark: str
    path: str = "/completions"

    def opened(self, conversation: Conversation) -> Body:
        """The assistant's turn begins."""
        return self.continued(conversation, "")

    def continued(self, conversation: Conversation, prefix: str) -> Body:
        """The assistant's turn goes on behind the prefix."""
        turns = messages(conversation)
        if len(turns) != 1 or not isinstance(turns[0]["content"], str):
            raise Unsupported(
                "this model's chat template changes what the assistant has said when it goes on, "
                "so it can only be asked single questions without pictures: "
                "serve an instruct model, such as Qwen3-VL-Instruct"
            )
        prompt = self.opening.replace(self.mark, turns[0]["content"]) + prefix
        return {"prompt": prompt, "add_special_tokens": False}

    def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """The answer to a question about the end of the assistant's text comes next."""
        return self.continued(conversation, inside(text, question))

    def tops(self, count: int) -> Body:
        """Ask for the most probable tokens."""
        return {"logprobs": count}


Route: TypeAlias = ChatRoute | TextRoute


def inside(text: str, question: str) -> str:
    """A question in the assistant's own turn."""
    return f"{text.rstrip()}\n\n({question})\nVerdict:"
