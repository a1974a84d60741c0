"""A step, the unit that is drafted, judged and committed; roles and endings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["draft", "target"]
Finish: TypeAlias = Literal["stop", "length"]  # how a model's stream ended


class Ending(Enum):
    """Reason why a step ended."""

    DELIMITER = "delimiter"  # the delimiter was found
    CAP = "cap"  # cut by the length cap; rejected by every gate that judges its content
    ANSWER = "answer"  # the stream ended inside a step that begins with the answer marker
    END = "end"  # the stream ended without a delimiter
    THOUGHT = "thought"  # the stream ended inside or right after a thought, without an answer


@dataclass(frozen=True, slots=True)
class Step:
    """Piece of reasoning up to and including its delimiter.

    Attributes:
        text: Exactly what the model wrote; concatenated steps give the stream back.
        tokens: Number of tokens of the model that wrote the step.
        ending: Reason why the step ended.
        logprob: Sum of the log-probabilities (nats) that the writing model gave the tokens. None if
            one is unknown.
        min_logprob: Lowest of these log-probabilities (nats). None if one is unknown.
        entropy: Entropy (nats) of the writing model's distribution of the first token. None if
            unknown or not requested.
    """

    text: str
    tokens: int
    ending: Ending
    logprob: float | None = None
    min_logprob: float | None = None
    entropy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        return {**asdict(self), "ending": self.ending.value}

    @property
    def is_answer(self) -> bool:
        """Whether this is the final answer."""
        return self.ending is Ending.ANSWER

    @property
    def plain(self) -> str:
        """The text without white space, in lower case. Steps with equal `plain` are equivalent."""
        return "".join(self.text.split()).lower()
