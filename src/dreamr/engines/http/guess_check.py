"""Check a likely continuation in one request, instead of decoding it token by token.

A token that is the likeliest at its place is what greedy decoding writes there. vLLM reports the
ranks of given tokens, but reads the whole prompt again for them. Whether a check takes less time
than decoding is decided by what both took before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio

from dreamr._means import moving_mean
from dreamr._messages import one_line
from dreamr.conversation import Conversation
from dreamr.engines.http.evidence_probe import reports_given_tokens
from dreamr.engines.http.fields import Field
from dreamr.engines.http.finish_reasons import read_finish
from dreamr.engines.http.given_tokens import ASK_RANKS, read_given, share_out, text_before
from dreamr.engines.http.judging import Send
from dreamr.engines.http.options import HttpOptions
from dreamr.engines.http.probe import ServerInfo
from dreamr.engines.http.routes import Body, Route
from dreamr.engines.protocol import Chunk, Context, SamplingParams
from dreamr.errors import ContextTooLong, EngineError, EngineLost, Unsupported

_CHARACTERS_PER_TOKEN = 3  # of short answers
# Most tokens of a prompt for each guessed token while nothing is measured yet. Reading a token
# takes far less time than writing one; how much less is chosen, not measured.
_MOST_READ = 64
_NEWEST = 0.3  # share of the latest measurement in a mean


@dataclass(frozen=True, slots=True)
class Checked:
    """The part of a guess that the model writes too.

    Attributes:
        text: The beginning of the guess.
        tokens: Its number of tokens.
        ended: Whether the model ends its turn after it.
    """

    text: str
    tokens: int
    ended: bool


@dataclass(slots=True)
class _Measured:
    """Moving means of the seconds that requests took, and of how much of the guesses was right."""

    first: float | None = None  # until the first token of a stream
    token: float | None = None  # of another token of a stream
    read: float | None = None  # of a check, for each token of its prompt
    right: float | None = 1.0  # share of a guess


@dataclass(slots=True)
class GuessCheck:
    """Checks of guesses at one server.

    Attributes:
        options: Address of the server.
        info: Returns the latest results of the probe.
        send: Sends requests.
        prompt_tokens: Returns how many tokens prompts of a conversation have, None if unknown.
        warn: Warns once about the model; takes the message after its name.
    """

    options: HttpOptions
    info: Callable[[], ServerInfo]
    send: Send
    prompt_tokens: Callable[[Conversation], int | None]
    warn: Callable[[str], None]
    _measured: _Measured = field(default_factory=_Measured)
    _failing: ServerInfo | None = None  # results of the probe of a server that does not check

    async def check(self, context: Context, sampling: SamplingParams) -> Checked | None:
        """Return the part of a stream's guess that the model writes too.

        Returns:
            None if there is no guess, if decoding it is expected to be faster, or if the server
            does not report given tokens.

        Raises:
            EngineLost: If the server cannot be reached and no retries are left.
        """
        guess = sampling.guess.rstrip()  # servers may trim a prompt
        info = self.info()
        if not guess or not info.margins or info is self._failing:
            return None
        if sampling.temperature or sampling.adjusts or not sampling.token_reuse:
            return None
        if not self._pays(context.conversation, guess):
            return None
        try:
            return await self._check(context, guess, sampling.max_tokens)
        except EngineLost:
            raise
        except ContextTooLong:  # decoding may end before the context is full
            return None
        except Unsupported:
            self._failing = info
            return None
        except EngineError as error:
            self._failing = info
            self.warn(f"writes answers token by token now, a request failed: {one_line(error)}")
            return None

    def _pays(self, conversation: Conversation, guess: str) -> bool:
        """Return whether checking a guess is expected to be faster than decoding it."""
        prompt = self.prompt_tokens(conversation)
        if prompt is None:
            return False
        tokens = max(1.0, len(guess) / _CHARACTERS_PER_TOKEN)
        mean = self._measured
        first, token, read, right = mean.first, mean.token, mean.read, mean.right
        if read is None or token is None or first is None or right is None:
            return prompt <= _MOST_READ * tokens
        # What is not right is decoded after the check, in a stream with a first token of its own.
        return prompt * read + (1 - right) * first < first + right * tokens * token

    async def _check(self, context: Context, guess: str, most: int) -> Checked | None:
        began = anyio.current_time()

        async def body(route: Route) -> Body:
            if not reports_given_tokens(route):
                raise Unsupported(f"the route {route.name} does not report given tokens")
            text = "".join((*context.prefix, guess))
            return {**await route.continued(context.conversation, text), **ASK_RANKS}

        sent, route = await self.send(body, context.conversation)
        url = route.url(self.options)
        given = read_given(Field(sent, url))
        shares = share_out(given, [guess])
        if shares is None:
            raise EngineError(f"{url} returned tokens that do not spell the given text")
        tokens = shares[0]
        if any(one.rank is None for one in tokens):
            raise Unsupported(f"{url} does not rank given tokens")
        right = next((place for place, one in enumerate(tokens) if one.rank != 1), len(tokens))
        seconds, mean = anyio.current_time() - began, self._measured
        mean.read = moving_mean(mean.read, seconds / len(given), _NEWEST)
        mean.right = moving_mean(mean.right, right / len(tokens), _NEWEST)
        if not 0 < right <= most:
            return None
        if right < len(tokens):
            said = text_before(guess, tokens[right:])
            return None if said is None else Checked(said, right, ended=False)
        after = route.read(sent, url)
        ended = read_finish(after.reason) == "stop" and not (after.text or after.thought)
        return Checked(guess, right, ended)

    async def timed(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of a stream, and measure how long its tokens take."""
        mean, last, first = self._measured, anyio.current_time(), True
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.tokens:
                    seconds = (anyio.current_time() - last) / chunk.tokens
                    if first:
                        mean.first = moving_mean(mean.first, seconds, _NEWEST)
                    else:
                        mean.token = moving_mean(mean.token, seconds, _NEWEST)
                yield chunk
                last, first = anyio.current_time(), False
