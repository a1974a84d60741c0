"""How steps, thoughts and the final answer are marked in a model's text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dreamr.steps.thoughts import conclusion, ends_inside

# What counts as a token: an ideograph or Kana or Hangul syllable, a word, a digit, or a run of one
# sign. Close to what tokenizers do, and the same for draft and target.
_EAST_ASIAN = "\u2e80-\ud7ff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_EAST_ASIAN}]|[^\W\d_{_EAST_ASIAN}]+|\d|([^\w\s])\1*|_+")


def length(text: str) -> int:
    """Return about how many tokens a text has, the same for every model."""
    return sum(1 for _ in _TOKEN.finditer(text))


@dataclass(frozen=True, slots=True)
class StepFormat:
    r"""How steps and the final answer are marked.

    A step consists of optional white space, some other text, and everything up to and including the
    delimiter. Leading blank lines therefore belong to the step that follows, and a third newline
    after "\n\n" begins the next step. A step that begins with the answer marker is the final answer
    and extends to the end of the stream.

    Attributes:
        delimiter: Text that ends a step.
        min_tokens: Steps shorter than this, such as headings, are joined with the step that
            follows. Counted by `length`. The final answer and the text after a thought are never
            joined with what comes before them.
        answer_marker: Text that begins the final answer; None if answers are not marked.
        max_tokens: Length at which a step is cut, with `Ending.CAP`. Only a cut step can consist of
            white space alone. Short steps in front of it do not count.
        max_answer_tokens: Length at which the final answer is cut.
        opens_thought: Whether the chat template opens a thought, so that the assistant's text
            begins inside it.
        closing: Text that closes a thought early. None: the tag that belongs to the one that opened
            the thought.

    Raises:
        ValueError: If the delimiter or marker is empty, the marker contains the delimiter, or a
            length is below 1.
    """

    delimiter: str = "\n\n"
    min_tokens: int = 1
    answer_marker: str | None = "Answer:"
    max_tokens: int = 256
    max_answer_tokens: int = 1024
    opens_thought: bool = False
    closing: str | None = None

    def __post_init__(self) -> None:
        if not self.delimiter:
            raise ValueError("the delimiter must not be empty")
        if self.answer_marker is not None:
            self._check_marker(self.answer_marker)
        if min(self.max_tokens, self.max_answer_tokens) < 1:
            raise ValueError("the maximum length of a step must be at least one token")
        if self.min_tokens < 1:
            raise ValueError("the minimum length of a step must be at least one token")

    def _check_marker(self, marker: str) -> None:
        if not marker or marker[0].isspace():
            raise ValueError("the answer marker must not be empty or begin with white space")
        if self.delimiter in marker:
            raise ValueError("the answer marker must not contain the delimiter")

    def answer(self, text: str) -> str | None:
        """Return the stripped text after the answer marker; None if the text lacks the marker."""
        marker, text = self.answer_marker, text.lstrip()
        if marker is None or not text.startswith(marker):
            return None
        return text[len(marker) :].strip()

    def conclusion(self, text: str) -> str:
        """Return the assistant's last text outside a thought, which has the answer."""
        return conclusion(text, opened=self.opens_thought)

    def ends_inside(self, text: str) -> bool:
        """Check whether the assistant's text ends inside a thought."""
        return ends_inside(text, opened=self.opens_thought)
