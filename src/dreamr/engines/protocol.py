"""The engine protocol: the only interface through which models are called.

An engine serves one model and is stateless toward its caller: every call carries the conversation
and the prefix, and caching is internal to the engine. Calls may run concurrently, for the same
conversation or for different ones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, overload, runtime_checkable

from dreamr.answers import AnswerForm, AnswerPiece
from dreamr.conversation import Conversation
from dreamr.gate import VERDICT, Evidence, Query
from dreamr.steps import Finish

Thinking: TypeAlias = Literal["auto", "on", "off"]
DType: TypeAlias = Literal["auto", "float32", "bfloat16"]
_COARSE_BLOCK = 256  # tokens of a block of a prefix cache from which steps are read again
MAX_IMAGE_PIXELS = 2**20  # of an image for a server, unless the user says otherwise


@dataclass(frozen=True, slots=True)
class Context:
    """What a call continues: the conversation and the assistant's text so far.

    The prefix is stored as the texts of its steps. Engines tokenize each step separately and only
    once, so the tokens of a prefix do not change when a step is appended.

    Attributes:
        conversation: The user's turns.
        prefix: Texts of the assistant's steps so far.
    """

    conversation: Conversation
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters of a stream.

    At temperature 0, decoding is greedy. Above 0, the draw at a position depends only on `seed`,
    on the position in the assistant's text (in tokens) and on the distribution there. A stream that
    is closed and reopened at a later prefix therefore draws the tokens that the first stream would
    have drawn.

    Attributes:
        max_tokens: Maximum number of tokens.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Probability mass from which tokens are drawn, in (0, 1].
        top_k: Number of likeliest tokens from which one is drawn; 0 for all.
        min_p: Lowest probability of a drawn token, relative to that of the likeliest.
        presence_penalty: Subtracted from the logits of tokens that are in the assistant's text.
        frequency_penalty: Subtracted from the logits of tokens in the assistant's text, once for
            each occurrence.
        repetition_penalty: Divides positive logits of tokens in the prompt and the text, and
            multiplies negative ones; 1 for none.
        logit_bias: Token ids, each with the number that is added to its logit.
        seed: Seed of the draws.
        logprobs: Whether chunks carry log-probabilities, which cost a pass over the vocabulary per
            token.
        entropy: Whether chunks carry entropies, at the same cost.
        lookup: Maximum number of tokens that the engine may guess at once from what follows the
            same words earlier in the text, and check in one forward pass (prompt lookup). Greedy
            streams only; does not change their text. 0 disables it. Ignored by engines that
            cannot do this, or that do it by themselves.
        guess: Text with which the stream is likely to begin. Engines that can check it do so in one
            forward pass. Greedy streams only; does not change their text.
        token_reuse: Whether an engine that knows from judging how the text continues may begin with
            that, and may use `guess`. Does not change the text, only its cost.
    """

    max_tokens: int = 4096
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0
    logprobs: bool = False
    entropy: bool = False
    lookup: int = 0
    guess: str = ""
    token_reuse: bool = True

    @property
    def adjusts(self) -> bool:
        """Whether penalties or biases change the logits, so that greedy text changes too."""
        return bool(
            self.presence_penalty
            or self.frequency_penalty
            or self.repetition_penalty != 1
            or self.logit_bias
        )

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the parameters that have an effect and that not every engine takes."""
        return tuple(name for name, neutral in NEUTRAL.items() if getattr(self, name) != neutral)


# Parameters that not every engine takes, with the values that have no effect.
NEUTRAL: Mapping[str, Any] = {
    name: getattr(SamplingParams(), name)
    for name in (
        "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
        "logit_bias",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chunk:
    """Piece of a stream: new tokens and the text that they complete.

    Attributes:
        text: Text that is now final. Empty if a token ends in the middle of a character.
        tokens: Number of new tokens.
        finish: Set on the last chunk only. 'stop' if the model ended its turn, 'length' if
            `max_tokens` or the model's context was used up.
        logprob: Sum of the log-probabilities of the tokens (nats). None if unknown or not
            requested.
        min_logprob: Lowest log-probability of the tokens (nats). None if unknown or not requested.
        entropy: Entropy (nats) of the model's distribution of the first of the tokens, before
            temperature and top_p. Over HTTP, of the most likely ones that the server lists, with
            the rest counted as one. None if unknown or not requested.
    """

    text: str
    tokens: int
    finish: Finish | None = None
    logprob: float | None = None
    min_logprob: float | None = None
    entropy: float | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capabilities of an engine.

    A missing capability leads to a clear error, or to a degradation that the trace records.

    Attributes:
        images: Whether prompts may contain images.
        judge: Whether the engine can judge with the probabilities of labels.
        logprobs: Whether chunks can carry log-probabilities.
        image_pixels: Number of pixels above which a larger image gives no better results. None:
            unknown.
        independent: Whether judge calls are served independently of each other, so that several
            small ones are answered sooner than one large one.
        judge_problem: Why the engine cannot judge; empty if it can, or if that is unknown.
        sampling: Names of the parameters of `NEUTRAL` that the engine takes.
        context: Length of the model's context in tokens, None if unknown.
        words: Whether the engine can answer a judge prompt in words.
        margins: Whether judge calls can report the margins of the steps' tokens.
        entropy: Whether chunks can carry entropies.
        min_label_mass: Smallest label mass that counts as an answer to the judge prompt, for gates
            that do not set their own.
        cache_block: Tokens of a block of the prefix cache: a prefix is reused in whole blocks only.
            0 if there is no such cache, None if this is unknown.
        windows: Whether one request can ask about several steps (see `Query.window`).
        window_problem: Why it cannot; empty if it can, or if that is unknown.
        kind: Kind of engine, for messages, such as 'vLLM'; empty if it has none.
        device: Torch device of a local model; empty for others.
        dtype: Type in which a local model multiplies many rows, such as 'bfloat16'; empty for
            others.
        max_images: Most images of a prompt that the model was trained for. None: no such limit is
            known.
        hears: Whether prompts may contain sounds. None: unknown until it is tried.
        hearing_problem: Why they may not; empty if they may, or if that is unknown.
        watches: Whether prompts may contain video files. None: unknown until it is tried.
        watching_problem: Why they may not; empty if they may, or if that is unknown.
    """

    images: bool = True
    judge: bool = True
    logprobs: bool = False
    image_pixels: int | None = None
    independent: bool = False
    judge_problem: str = ""
    sampling: frozenset[str] = frozenset(NEUTRAL)
    context: int | None = None
    words: bool = True
    margins: bool = True
    entropy: bool = False
    min_label_mass: float = 0.01
    cache_block: int | None = None
    windows: bool = False
    window_problem: str = ""
    kind: str = ""
    device: str = ""
    dtype: str = ""
    max_images: int | None = None
    hears: bool | None = None
    hearing_problem: str = ""
    watches: bool | None = None
    watching_problem: str = ""

    @property
    def coarse_cache(self) -> bool:
        """Whether judge calls read much of a prompt again: the cache has large blocks, or none.

        Hybrid models with recurrent layers have blocks of hundreds of tokens.
        """
        return self.cache_block is not None and (
            not self.cache_block or self.cache_block >= _COARSE_BLOCK
        )


class Candidates(Sequence[str]):
    """Consecutive steps for `Engine.judge`, to which more can be added while the call waits.

    Engines that accept late steps register a listener. Other engines judge the steps that are
    present when the call begins.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = list(texts)
        self._listener: Callable[[str], None] | None = None

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Append a step and notify the listener."""
        self._texts.append(text)
        if self._listener is not None:
            self._listener(text)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Set the function that is called with each step added from now on.

        Args:
            listener: Receives the text of the step. It must neither block nor raise.
        """
        self._listener = listener


@runtime_checkable
class Routed(Protocol):
    """An engine that has several ways to continue a text."""

    def route_name(self, conversation: Conversation) -> str:
        """Return the name of the way that a conversation takes."""
        ...


@runtime_checkable
class Preparable(Protocol):
    """An engine that finds out what it takes by trying it."""

    async def prepare(self, conversation: Conversation) -> None:
        """Find out whether the model takes what is in a conversation, for `capabilities`.

        Raises:
            EngineError: If the server fails.
        """
        ...


@runtime_checkable
class AnswersInForm(Protocol):
    """An engine that writes answers in a form: calls of tools, or text in a format."""

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return why an answer in a form cannot follow reasoning that was given; empty if it can.

        The engine may write reasoning and answer in one request all the same.

        Raises:
            EngineError: If the server fails.
        """
        ...

    def write_answer(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the answer in a form, after a prefix that holds the whole reasoning.

        Closing the generator cancels the work at once. The last piece has a finish.

        Args:
            context: The conversation, and the reasoning as its prefix. Without a prefix, the model
                may write its own reasoning first, which is yielded apart.
            form: Form of the answer.
            sampling: Parameters of the answer.
        """
        ...


class Engine(Protocol):
    """Protocol of an engine, which serves one model.

    All methods may raise `EngineError`. After an `EngineLost`, every call fails.
    """

    @property
    def name(self) -> str:
        """The model's path or id, for messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the engine."""
        ...

    def stream(self, context: Context, sampling: SamplingParams) -> AsyncGenerator[Chunk, None]:
        """Yield chunks that continue the prefix.

        Closing the generator cancels the work at once. Streams are demand-driven: an engine may
        run a bounded number of tokens ahead of its consumer, not more.
        """
        ...

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps, each after the prefix and the steps before it.

        Returns:
            The evidence for each step that was present at the call, and for each step that was
            added to `Candidates` in time.
        """
        ...

    async def count(self, conversation: Conversation) -> int:
        """Return the length of the conversation as a prompt of this model, images included.

        Returns:
            The number of tokens.
        """
        ...

    @property
    def alive(self) -> bool:
        """Whether calls can succeed; False once the engine is lost or closed."""
        ...

    async def check(self) -> None:
        """Check that the model can be used, without work for the model itself.

        An engine that is found to be unusable is not `alive` any more, and one that is found to
        be usable again is.

        Raises:
            EngineError: If the check fails. The engine may be `alive` all the same.
        """
        ...

    def note_stall(self, seconds: float) -> None:
        """Note that a call had no output for this many seconds and was canceled.

        An engine that did not respond to any other call meanwhile is then not `alive` any more.
        """
        ...

    def forget(self, conversation: Conversation) -> None:
        """Discard what is cached for a conversation, unless a call for it is running."""
        ...

    async def aclose(self) -> None:
        """Close the engine and free its resources; idempotent."""
        ...
