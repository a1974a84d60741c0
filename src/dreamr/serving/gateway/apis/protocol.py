"""What an API must do for the endpoint that serves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from dreamr._options import RunOptions
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.options import ServeOptions
from dreamr.trace import Event, Result

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event of a stream.

    Attributes:
        data: JSON value.
        name: Type of the event, in APIs that name them.
    """

    data: Json
    name: str | None = None

    def __bytes__(self) -> bytes:
        text = json.dumps(self.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        head = b"" if self.name is None else b"event: %b\n" % self.name.encode()
        return b"%bdata: %b\n\n" % (head, text.encode())


@dataclass(frozen=True, slots=True)
class Sender:
    """What is known about a request before its body is read.

    Attributes:
        client: Name of the client.
        options_of: Returns the options of the server for a model; raises ApiError if there is none
            of this name.
        limits: Limits of the gateway.
        earlier: The response that the request continues, if it names one.
    """

    client: str
    options_of: Callable[[str], RunOptions]
    limits: ServeOptions
    earlier: Any = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What all attempts at a response have in common.

    Attributes:
        name: End of its id: 32 hexadecimal digits.
        created: Time of the first request, in seconds since 1970.
    """

    name: str
    created: int


class Reply(Protocol):
    """Builder of the response to one request.

    For a stream, the endpoint sends `opening`, then `events` for each event of the run, then
    `closing` or `failure`.
    """

    @property
    def id(self) -> str:
        """Id of the response."""
        ...

    @property
    def counts_prompt(self) -> bool:
        """Whether the end of a stream shows the number of tokens of the prompt."""
        ...

    def whole(self, result: Result, prompt: int) -> Json:
        """Return the body of a response that is not streamed.

        Args:
            result: Result of the run.
            prompt: Tokens of the prompt, 0 if unknown.
        """
        ...

    def opening(self) -> Iterable[ServerEvent]:
        """Yield the first events of a stream."""
        ...

    def events(self, event: Event) -> Iterable[ServerEvent]:
        """Yield what an event of the run adds to a stream; the last is `RunFinished`."""
        ...

    def closing(self, result: Result, prompt: int) -> Iterable[ServerEvent]:
        """Yield the last events of a stream.

        Args:
            result: Result of the run.
            prompt: Tokens of the prompt, 0 if they were not counted.
        """
        ...

    def failure(self, error: ApiError) -> Iterable[ServerEvent]:
        """Yield the last events of a stream that fails."""
        ...


class Api(Protocol):
    """An API of the gateway.

    Attributes:
        path: Path of the endpoint.
        end: Bytes that end a stream.
        keep_alive: Bytes that keep a silent stream open.
    """

    path: str
    end: bytes
    keep_alive: bytes

    def read(self, body: bytes | bytearray, sender: Sender) -> ParsedRequest:
        """Parse and check the body of a request.

        Args:
            body: JSON text.
            sender: What is known about the request.

        Raises:
            ApiError: If the body is invalid, too large, or asks for something unsupported.
        """
        ...

    def reply(self, parsed: ParsedRequest, summary: Summary, identity: Identity) -> Reply:
        """Return the builder of the response.

        Args:
            parsed: The request.
            summary: Describes the run.
            identity: Name and time of the response.
        """
        ...

    def error(self, error: ApiError) -> Json:
        """Return the body of an error response."""
        ...
