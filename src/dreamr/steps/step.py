"""A step: the unit that is drafted, judged and committed; who writes it, and how a stream ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["draft", "target"]  # which of the two models
Finish: TypeAlias = Literal["stop", "length"]  # how a model's stream ended


class Ending(Enum):
    """Why a step ended."""

    DELIMITER = "delimiter"  # the delimiter was seen
    CAP = "cap"  # cut by the length cap: never accepted silently
    ANSWER = "answer"  # the stream ended inside a step that begins with the answer marker
    END = "end"  # the stream ended without delimiter


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of reasoning up to and including its delimiter.

    `text` is exactly what the model wrote (concatenating steps gives the stream back), `tokens`
    how many tokens of the writing model it took. logprob: the sum of the log-probabilities (nats)
    that its writer gave these tokens, and min_logprob: the lowest of them; None where one is
    unknown.
    """

    text: str
    tokens: int
    ending: Ending
    logprob: float | None = None
    min_logprob: float | None = None

    @property
    def is_answer(self) -> bool:
        """Whether this is the final answer rather than a piece of reasoning."""
        return self.ending is Ending.ANSWER

    @property
    def plain(self) -> str:
        """The text without blanks and case: where it is equal, nobody need be asked."""
        return "".join(self.text.split()).lower()
