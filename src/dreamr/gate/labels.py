"""The labels of a verdict, and their spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass

_AROUND_WORDS = " \t\r\n*_`\"'#>(:-"  # what models put in front of a word
_MORE = r"[-_'\u2019]?[^\W_]"  # the rest of a longer word


def _spellings(word: str) -> tuple[str, ...]:
    """Return the spellings with which a model may begin its answer, the plain one first."""
    cased = dict.fromkeys((word, word.capitalize(), word.upper()))
    return tuple(space + spelling for space in ("", " ") for spelling in cased)


@dataclass(frozen=True, slots=True)
class Labels:
    """The two labels of a verdict, each as a set of spellings.

    The probability of a label is summed over its spellings. The first spelling is the one to show
    in the judge prompt. An engine uses the first token of each spelling, once, and ignores a token
    with which both labels begin.

    Attributes:
        positive: Spellings of the label for right steps.
        negative: Spellings of the label for wrong steps.

    Raises:
        ValueError: If a label has no spelling, a spelling is empty, or both labels share one.
    """

    positive: tuple[str, ...] = _spellings("positive")
    negative: tuple[str, ...] = _spellings("negative")

    def __post_init__(self) -> None:
        if not self.positive or not self.negative:
            raise ValueError("each label needs at least one spelling")
        if not all(map(str.strip, self.positive + self.negative)):
            raise ValueError("a label's spelling must not be empty")
        if shared := set(self.positive) & set(self.negative):
            raise ValueError(f"both labels have the spelling {sorted(shared)[0]!r}")

    def read(self, answer: str) -> bool | None:
        """Return which label an answer in words begins with: whether it is the positive one.

        Letter case and marks in front of the word do not matter, and small models repeat it without
        a space. None if the answer begins with neither label, or with a longer word.
        """
        words = answer.lstrip(_AROUND_WORDS).lower()
        positive, negative = (
            any(_begins(words, spelling.strip().lower()) for spelling in spellings)
            for spellings in (self.positive, self.negative)
        )
        return positive if positive != negative else None

    @classmethod
    def of(cls, positive: str, negative: str) -> Labels:
        """Create labels from two words, each also capitalized, in upper case and after a space."""
        return cls(_spellings(positive), _spellings(negative))


def _begins(text: str, word: str) -> bool:
    """Check whether a text in lower case begins with a whole word."""
    if not word.isascii() and word.upper() == word:
        # Scripts without letter case, such as Chinese, often have no spaces between words either.
        return text.startswith(word)
    return re.match(rf"(?:{re.escape(word)})+(?!{_MORE})", text) is not None
