"""The model that is checked, and what the checks have measured so far."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from secrets import token_hex

from dreamr.conversation import Conversation, Image
from dreamr.engines import Context, Model, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.serving.doctor.receipt import draw_receipt
from dreamr.steps import Ending, Role, Step

QUESTION = "What do tea and milk cost together?"
MAX_TOKENS = 256  # per answer
_STEP = "Tea costs 12 and milk costs 16."
_SENTENCE = "The shop sells bread, tea, eggs and milk, and each has its own price. "
_USUAL_STEP = 20.0  # tokens


@dataclass(slots=True)
class ModelUnderTest:
    """A model and the measurements of the checks so far.

    Attributes:
        role: Role of the model in the pair.
        model: Engine and step format.
        talk: Example conversation that the checks use.
        text: The model's answer to it.
        steps: Steps of that answer.
        finish: Finish reason of that answer.
        seconds: Time per decoded token in seconds; 0 if not measured.
        first: Time to the first token in seconds.
        judging: Time of a judge call of one step in seconds; None if not measured.
    """

    role: Role
    model: Model
    talk: Conversation = field(
        default_factory=lambda: Conversation.from_prompt(QUESTION, draw_receipt())
    )
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    finish: str | None = None
    seconds: float = 0.0
    first: float = 0.0
    judging: float | None = None

    @property
    def http(self) -> HttpEngine | None:
        """The engine if it is a server, else None."""
        engine = self.model.engine
        return engine if isinstance(engine, HttpEngine) else None

    @property
    def reasoning(self) -> list[Step]:
        """Steps of the answer before the final one."""
        return [step for step in self.steps if step.ending is not Ending.ANSWER]

    @property
    def step_tokens(self) -> float:
        """Median length of a step in tokens; a usual length if no step was seen."""
        lengths = [step.tokens for step in self.reasoning if step.tokens > 0]
        return statistics.median(lengths) if lengths else _USUAL_STEP

    async def touch(self, conversation: Conversation) -> float:
        """Send a request of one token, as judging does, and return its time in seconds.

        Targets judge a step, so that their request is the one of a run. Drafts write one token.
        """
        began = time.perf_counter()
        if self.role == "target" and self.model.engine.capabilities.judge:
            await self.model.engine.judge(Context(conversation), [_STEP])
        else:
            await self.write(conversation, 1)
        return time.perf_counter() - began

    async def write(self, conversation: Conversation, tokens: int) -> str:
        """Return a greedy answer of at most this many tokens."""
        sampling = SamplingParams(max_tokens=tokens)
        stream = self.model.engine.stream(Context(conversation), sampling)
        return "".join([chunk.text async for chunk in stream])


def fresh_prompt(sentences: int, *images: Image, question: str = QUESTION) -> Conversation:
    """Return a prompt that no server can have in its prefix cache, since it begins with a nonce.

    Args:
        sentences: Length of its text; a sentence has about 16 tokens.
        images: Images, which come first.
        question: Last sentence.
    """
    text = f"Note {token_hex(8)}. {_SENTENCE * sentences}{question}"
    return Conversation.from_prompt(text, *images)


def longer_prompt(prompt: Conversation, sentences: int) -> Conversation:
    """Return a prompt that begins like another one without images and goes on."""
    [turn] = prompt.turns
    text = "".join(getattr(part, "text", "") for part in turn.parts)
    return Conversation.from_prompt(text + " " + _SENTENCE * sentences)


async def median_seconds(repetitions: int, work: Callable[[], Awaitable[float]]) -> float:
    """Return the median of several measurements."""
    return statistics.median([await work() for _ in range(repetitions)])
