"""The one seam to models.

An engine has one model behind it and is stateless towards its caller: every call carries the
conversation and the prefix, and caching is the engine's own business. Calls of different
conversations, and several calls of one conversation, may run side by side.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

from dreamr.conversation import Conversation
from dreamr.gate import VERDICT, Evidence, Query
from dreamr.steps import Finish


@dataclass(frozen=True, slots=True)
class Context:
    """What a call continues: the user's turns and the assistant's text so far, step by step.

    The prefix is kept as the texts of its steps: engines tokenize each on its own, once, so that
    the tokens of a prefix never change when a step is added.
    """

    conversation: Conversation
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to draw tokens.

    temperature 0 is greedy. Above 0, the draw at a position depends only on `seed`, the position
    in the assistant's text (in tokens) and the distribution there: a stream that is closed and
    reopened at a later prefix draws what the first would have drawn.

    logprobs: whether chunks carry log-probabilities; they cost a pass over the vocabulary a token.
    guess: a text that the stream may well begin with; greedy streams of an engine that can check
    it do so in one pass, and the text does not change by it.
    reuse: whether an engine that knows from judging how the text would go on here begins with that,
    and heeds `guess`; the text does not change by it either, only its cost.
    lookup: the most tokens that the engine may guess at once from what follows the same words
    earlier in the text, and check in one pass (prompt lookup); greedy streams only, whose text does
    not change by it. 0: none. An engine that does so of its own accord, or cannot, ignores it.
    """

    max_tokens: int = 4096
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    logprobs: bool = False
    lookup: int = 0
    guess: str = ""
    token_reuse: bool = True


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream: the text that became certain with `tokens` more tokens.

    Text may be empty (a token that ends in the middle of a character). `finish` is set on the last
    chunk alone: 'stop' where the model ended its turn, 'length' where max_tokens or the context
    was used up. logprob: the sum of the log-probabilities of these tokens (nats), and min_logprob:
    the lowest of them; None if unknown or not asked for.
    """

    text: str
    tokens: int
    finish: Finish | None = None
    logprob: float | None = None
    min_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; what it cannot is a clear error, or a degradation in the trace."""

    images: bool = True
    judge: bool = True
    logprobs: bool = False


class Candidates(Sequence[str]):
    """Consecutive steps for `Engine.judge`, to which more are added while the call may still wait.

    An engine that can take late ones listens; any other judges what is there when it begins.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = list(texts)
        self._hear: Callable[[str], None] | None = None

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """One more, behind the others."""
        self._texts.append(text)
        if self._hear is not None:
            self._hear(text)

    def listen(self, hear: Callable[[str], None]) -> None:
        """Be called with each that is added from now on. It must neither wait nor raise."""
        self._hear = hear


class Engine(Protocol):
    """One model. All methods may raise EngineError; after EngineLost none succeeds."""

    @property
    def name(self) -> str:
        """For people: the model's path or id."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def stream(self, context: Context, sampling: SamplingParams) -> AsyncGenerator[Chunk, None]:
        """Continue the prefix. Closing the generator cancels the work at once.

        Demand-driven: an engine may run a bounded number of tokens ahead of its consumer, not more.
        """
        ...

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Evidence for consecutive steps, each judged after the prefix and those before it.

        For all that were there at the call, and for those of `Candidates` that came in time.
        """
        ...

    async def count(self, conversation: Conversation) -> int:
        """How many tokens the conversation takes as this model's prompt, pictures included."""
        ...

    @property
    def alive(self) -> bool:
        """Whether calls can succeed: False once the engine is lost or closed."""
        ...

    def forget(self, conversation: Conversation) -> None:
        """Drop what is kept for a conversation that no call is under way for, if anything is."""
        ...

    async def aclose(self) -> None:
        """Free everything; idempotent."""
        ...
