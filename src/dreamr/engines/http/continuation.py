"""Continue one text over all the requests that it takes.

A request ends before the text does if its token limit is reached, if the connection is lost, or if
a proxy closes the response. Only a finish reason proves that a text is complete. Other responses
are continued after the text that has arrived, until one has a finish reason. If they add nothing
any more, a short request finds out whether complete responses of this server end in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from dreamr.engines.http.retries import RetryPolicy, TransientError
from dreamr.engines.http.sse import EndSign, StreamParser
from dreamr.engines.protocol import Chunk
from dreamr.errors import ContextTooLong, EngineError, EngineLost
from dreamr.steps import Finish

LOG = logging.getLogger("dreamr.engines.http")
_CHECKS = 3  # short requests that find out how a server ends responses
_MOST_RESPONSES = 100  # that end before the text does, of one stream


@dataclass(slots=True)
class EndSigns:
    """How a server ends its streamed responses.

    Attributes:
        check: Sends a short request and returns the sign of its end, None if it had no text.
        name: The server, for messages.
    """

    check: Callable[[], Awaitable[EndSign | None]]
    name: str
    _usual: EndSign | None = None

    def add(self, sign: EndSign) -> None:
        """Take note of the sign at the end of a response."""
        if sign == EndSign.REASON:  # others can also be signs of a failure
            self._usual = sign

    async def usual(self) -> EndSign | None:
        """Return how clearly the server ends complete responses, None if it cannot be found out."""
        if self._usual is None:
            found = [await self.check() for _ in range(_CHECKS)]
            signs = [sign for sign in found if sign is not None]
            agree = len(signs) == _CHECKS and len(set(signs)) == 1
            if not agree and EndSign.REASON not in signs:
                return None  # some of them may be interrupted, too
            self._usual = max(signs)
            if self._usual < EndSign.REASON:
                LOG.warning("%s sends no finish reasons: answers may be cut", self.name)
        return self._usual


@dataclass(slots=True)
class Continuation:
    """One text from one or more streamed responses.

    Attributes:
        request: Sends a request for the text after the prefix and what has been written: takes what
            has been written, the token limit and a parser, and yields chunks.
        prefix: Text before the stream.
        max_tokens: Maximum number of tokens.
        ahead: Maximum number of tokens of one request.
        retries: Number of retries without progress.
        signs: How the server ends its responses.
        parser: Returns the parser of a response that continues a text.
        url: Address of the server, for messages.
    """

    request: Callable[[str, int, StreamParser], AsyncGenerator[Chunk, None]]
    prefix: str
    max_tokens: int
    ahead: int
    retries: int
    signs: EndSigns
    parser: Callable[[str], StreamParser]
    url: str
    _written: str = ""
    _tokens: int = 0
    _responses: int = 0
    _policy: RetryPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._policy = RetryPolicy(self.retries)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of the text; the last one has its finish.

        Raises:
            EngineError: If the text could not be completed.
        """
        while True:
            most = min(self.max_tokens - self._tokens, self.ahead)
            parser = self.parser(self.prefix + self._written)
            failure = None
            try:
                async with aclosing(self.request(self._written, most, parser)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except TransientError as error:
                failure = error
            except ContextTooLong:
                if not self._written:
                    raise
                yield Chunk("", 0, "length")  # what was written is kept
                return
            self._written += parser.text
            tokens = parser.tokens
            if parser.finish == "length" and not parser.counted:  # pieces can have several tokens
                tokens = most
            self._tokens += tokens
            outcome = self._outcome(parser, tokens >= most, failure)
            if isinstance(outcome, TransientError):
                outcome = await self._retry(outcome, parser, failure)
            if outcome is not None:
                yield Chunk("", 0, outcome)
                return

    def _outcome(
        self, parser: StreamParser, full: bool, failure: TransientError | None
    ) -> Finish | TransientError | None:
        """Return how the text ended, why it was interrupted, or None to continue it at once.

        Args:
            parser: Parser of the response.
            full: Whether the response has as many tokens as the request allowed.
            failure: What interrupted the response, None if nothing did.
        """
        self.signs.add(parser.end_sign)
        # A connection that is lost after a finish reason has lost nothing.
        whole = failure is None or isinstance(failure.final, EngineLost)
        if whole and parser.end_sign == EndSign.REASON:
            if parser.finish == "stop" and not self._usable:
                return self._interruption("ended its answer without any text")
            # Some servers also say "stop" when the limit of the request is reached.
            more = full and self._tokens < self.max_tokens
            return None if more and parser.text else parser.finish
        if self._tokens >= self.max_tokens:
            return "length"
        if failure is not None:
            return failure
        if parser.text:
            return self._interruption("closed the stream before its end")
        return self._interruption("closed the stream without any text")

    async def _retry(
        self, problem: TransientError, parser: StreamParser, failure: TransientError | None
    ) -> Finish | None:
        """Wait before the next request; return a finish if the text turns out to be complete.

        Raises:
            EngineError: If no retries are left.
        """
        if parser.text:
            self._count_responses()
            self._policy = RetryPolicy(self.retries)
        try:
            await self._policy.wait(problem)
        except EngineError:
            # Servers without finish reasons add nothing to a complete text, however often asked.
            silent = failure is None and not parser.empty and not parser.text and self._usable
            if silent and await self.signs.usual() == parser.end_sign:
                return "stop"
            raise
        return None

    @property
    def _usable(self) -> bool:
        """Whether there is any text so far."""
        return bool((self.prefix + self._written).strip())

    def _count_responses(self) -> None:
        """Bound the responses that end before the text, each after some progress."""
        self._responses += 1
        if self._responses > _MOST_RESPONSES:
            raise EngineError(
                f"{self.url} interrupted one answer {_MOST_RESPONSES} times: check the time limits "
                "of proxies in front of the server"
            )

    def _interruption(self, what: str) -> TransientError:
        return TransientError(EngineError(f"{self.url} {what}: check the server's log"))
