"""An engine that plays back a script, for tests, simulations and demonstrations."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TypeAlias

import anyio
import anyio.lowlevel

from dreamr.conversation import Conversation, Text
from dreamr.engines.lifecycle import ClosingEngine
from dreamr.engines.protocol import Capabilities, Chunk, Context, SamplingParams
from dreamr.errors import EngineError, EngineLost
from dreamr.gate import VERDICT, Evidence, Query
from dreamr.steps import Finish

Script: TypeAlias = str | Sequence[str] | Mapping[str, str] | Callable[[Context], str]
Opinion: TypeAlias = float | Mapping[str, float] | Callable[[Context, str], Evidence | float]

_WORD = re.compile(r"\s+|\S+\s*")


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a call to a `ScriptedEngine`.

    Attributes:
        error: Exception to raise.
        tokens: Number of tokens that a stream yields before it fails.
    """

    error: Exception
    tokens: int = 0


def words(text: str) -> Iterator[str]:
    """Yield the words of a text, each with the white space that follows it.

    This is the default tokenizer of `ScriptedEngine`.
    """
    return (match.group() for match in _WORD.finditer(text))


@dataclass(kw_only=True)
class ScriptedEngine(ClosingEngine):
    r"""Deterministic engine that plays a script with given latencies, opinions and failures.

    Attributes:
        script: What the model writes. A string is continued wherever the prefix is a beginning of
            it; elsewhere nothing is written. A sequence of steps is played by position, whatever
            the prefix says. A mapping leads from the prefix's text to its continuation. A function
            returns the continuation of a context.
        opinion: Result of `judge`: one ratio for all steps; a mapping from a step's text to its
            ratio, 0 for steps that it lacks; or a function of the context before the step and the
            step.
        name: Name of the engine.
        capabilities: Capabilities that the engine claims.
        token_probability: Probability of a token, as a function of its text. None for a model
            without log-probabilities.
        token_seconds: Latency of a token, in seconds; infinite for an engine that hangs.
        judge_seconds: Latency of a judge call, in seconds; infinite for an engine that hangs.
        capacity: Number of concurrent calls that run at full speed. With more, the latency of each
            grows with their number.
        stream_failures: Failures of streams, by the number of the stream, from 0. After an
            `EngineLost` every call fails.
        judge_failures: The same for judge calls.
        tokenize: Splits a text into tokens.

    Example:
        >>> engine = ScriptedEngine(script=["Two and two.\n\n", "Answer: 4"], opinion=0.9)
    """

    script: Script = ""
    opinion: Opinion = 1.0
    name: str = "scripted"
    capabilities: Capabilities = field(default_factory=Capabilities)
    token_probability: Callable[[str], float] | None = None
    token_seconds: float = 0.0
    judge_seconds: float = 0.0
    capacity: float = math.inf
    stream_failures: Mapping[int, Failure] = field(default_factory=dict)
    judge_failures: Mapping[int, Failure] = field(default_factory=dict)
    tokenize: Callable[[str], Iterable[str]] = words

    def __post_init__(self) -> None:
        self.streams = 0  # streams opened so far
        self.judgments = 0  # judge calls so far
        self.open_streams = 0
        self.written = 0  # tokens so far, of all streams
        self._working = 0
        self._lost: str | None = None

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the script's continuation of the prefix, one token per chunk."""
        call, self.streams = self.streams, self.streams + 1
        failure = self.stream_failures.get(call)
        tokens = iter(self.tokenize(self._continuation(context)))
        upcoming = next(tokens, None)
        number = 0
        self.open_streams += 1
        try:
            while upcoming is not None and number < sampling.max_tokens:
                await self._work(self.token_seconds, failure, number)
                number += 1
                self.written += 1
                token, upcoming = upcoming, next(tokens, None)
                finish: Finish | None = "length" if number == sampling.max_tokens else None
                finish = "stop" if upcoming is None else finish
                sure = self._logprob(token) if sampling.logprobs else None
                yield Chunk(token, 1, finish, sure, sure, self._entropy(token, sampling))
            await self._work(0.0, failure, number)
            if number == 0:
                yield Chunk("", 0, "stop")
        finally:
            self.open_streams -= 1

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Return the opinion on each candidate, after the prefix and the candidates before it.

        For a score query, the opinion is turned into a score, with all mass on one digit. For
        candidates that the query does not ask about, agreement with the script is returned.
        """
        call, self.judgments = self.judgments, self.judgments + 1
        steps = tuple(candidates)
        await self._work(self.judge_seconds, self.judge_failures.get(call), 0)
        prefixes = (context.prefix + steps[:i] for i in range(len(steps)))
        found = (
            (self._evidence if query.concerns(candidate) else self._agreement)(
                Context(context.conversation, prefix), candidate
            )
            for prefix, candidate in zip(prefixes, steps, strict=True)
        )
        return tuple(map(_scored, found) if query.kind == "score" else found)

    async def count(self, conversation: Conversation) -> int:
        """Return the number of tokens of all texts, plus one per image."""
        parts = [part for turn in conversation.turns for part in turn.parts]
        await self._work(0.0, None, 0)
        return sum(
            sum(1 for _ in self.tokenize(part.text)) if isinstance(part, Text) else 1
            for part in parts
        )

    @property
    def alive(self) -> bool:
        """Whether the engine is neither lost nor closed."""
        return self._lost is None

    def forget(self, conversation: Conversation) -> None:
        """Do nothing: no state is kept."""

    async def aclose(self) -> None:
        """Close the engine; every later call fails."""
        self._lost = self._lost or f"{self.name} is closed"

    async def _work(self, seconds: float, failure: Failure | None, tokens: int) -> None:
        """Wait for a latency, then raise the failure if it is due after this number of tokens."""
        if seconds == float("inf"):
            await anyio.sleep_forever()
        elif seconds > 0:
            self._working += 1
            try:
                await anyio.sleep(seconds * max(1.0, self._working / self.capacity))
            finally:
                self._working -= 1
        else:
            await anyio.lowlevel.checkpoint()
        if self._lost is not None:
            raise EngineLost(self._lost)
        if failure is not None and failure.tokens == tokens:
            self._fail(failure.error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, EngineLost):
            self._lost = str(error)
        raise error

    def _continuation(self, context: Context) -> str:
        script, prefix = self.script, "".join(context.prefix)
        match script:
            case str():
                return script[len(prefix) :] if script.startswith(prefix) else ""
            case Mapping():
                return script.get(prefix, "")
            case Sequence():
                return "".join(script[len(context.prefix) :])
            case _:
                return script(context)

    def _logprob(self, token: str) -> float | None:
        return None if self.token_probability is None else math.log(self.token_probability(token))

    def _entropy(self, token: str, sampling: SamplingParams) -> float | None:
        """Return the entropy of a choice between the token and one other."""
        if self.token_probability is None or not sampling.entropy:
            return None
        sure = self.token_probability(token)
        return -sum(share * math.log(share) for share in (sure, 1 - sure) if share > 0)

    def _agreement(self, context: Context, candidate: str) -> Evidence:
        """Count the tokens at the candidate's beginning that the script has too."""
        given, own = list(self.tokenize(candidate)), self.tokenize(self._continuation(context))
        pairs = zip(given, own, strict=False)
        matched_tokens = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return Evidence(0.0, 0.0, tokens=len(given), matched_tokens=matched_tokens)

    def _evidence(self, context: Context, candidate: str) -> Evidence:
        match self.opinion:
            case Mapping():
                found: Evidence | float = self.opinion.get(candidate, 0.0)
            case float() | int():
                found = self.opinion
            case _:
                found = self.opinion(context, candidate)
        if isinstance(found, Evidence):
            return found
        if not 0.0 <= found <= 1.0:
            raise EngineError(f"{self.name}: a ratio must be between 0 and 1, not {found}")
        return Evidence(found, 1.0 - found)


def _scored(evidence: Evidence) -> Evidence:
    digit = round(9 * evidence.ratio)
    scores = tuple(evidence.mass * (other == digit) for other in range(10))
    return replace(evidence, scores=scores)
