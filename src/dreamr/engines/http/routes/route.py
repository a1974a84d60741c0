"""What a route is: how requests to one endpoint are built and how its responses are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from dreamr.conversation import Conversation
from dreamr.engines.http.completions import Completion
from dreamr.engines.http.options import HttpOptions

Body: TypeAlias = dict[str, Any]
Asking: TypeAlias = Literal["turn", "inside"]
Reader: TypeAlias = Callable[[object, str], Completion]
Kind: TypeAlias = Literal["any", "text", "images"]  # of conversations


class Route(Protocol):
    """One way to continue the assistant's text on a server, and to ask about its end.

    The engine adds the fields of a request that do not depend on the route, with OpenAI's names:
    `model`, `max_tokens`, `temperature`, `top_p`, `seed`, `stream`. `form` converts the whole body
    for endpoints that name them differently.
    """

    name: ClassVar[str]  # for traces and reports

    @property
    def trims(self) -> bool:
        """Whether the server removes white space at the end of a continued text."""
        ...

    @property
    def opens(self) -> bool:
        """Whether the assistant's turn is opened inside a thought."""
        ...

    def url(self, options: HttpOptions) -> str:
        """Return the address of the endpoint."""
        ...

    def takes(self, conversation: Conversation) -> bool:
        """Check whether conversations of this kind can be continued by this route."""
        ...

    async def opened(self, conversation: Conversation) -> Body:
        """Return the body of a request that starts the assistant's turn."""
        ...

    async def continued(self, conversation: Conversation, prefix: str) -> Body:
        """Return the body of a request that continues the assistant's turn after the prefix."""
        ...

    async def with_question(self, conversation: Conversation, text: str, question: str) -> Body:
        """Return the body of a request that asks about the end of the assistant's text."""
        ...

    def note(self, conversation: Conversation, *, answered: bool) -> None:
        """Note whether the server answered a request about a conversation."""
        ...

    def tops(self, count: int) -> Body:
        """Return the fields that ask for the most probable tokens."""
        ...

    def form(self, body: Body) -> Body:
        """Return a body with the names of fields that the endpoint has."""
        ...

    def read(self, value: object, url: str) -> Completion:
        """Read a response that is not streamed."""
        ...

    def reader(self) -> Reader:
        """Return the function that reads the events of one stream, in order."""
        ...


class OpenAiRoute:
    """Base of routes to endpoints that have OpenAI's names of fields and form of responses."""

    __slots__ = ()

    path: ClassVar[str]  # below the API's base URL

    def url(self, options: HttpOptions) -> str:
        """Return the address of the endpoint."""
        return f"{options.base}{self.path}"

    def takes(self, conversation: Conversation) -> bool:
        """Check whether conversations of this kind can be continued by this route."""
        return True

    def note(self, conversation: Conversation, *, answered: bool) -> None:
        """Ignore whether the server answered: the endpoint keeps no state of a conversation."""

    def form(self, body: Body) -> Body:
        """Return a body with the names of fields that the endpoint has: it is unchanged."""
        return body

    def read(self, value: object, url: str) -> Completion:
        """Read a response that is not streamed."""
        return Completion.read(value, url)

    def reader(self) -> Reader:
        """Return the function that reads the events of one stream, in order."""
        return Completion.read


def inside(text: str, question: str) -> str:
    """Append a judge prompt to the assistant's own text."""
    return f"{text.rstrip()}\n\n({question})\nVerdict:"
