"""The words of the verdict and how a model may spell them."""

from __future__ import annotations

from dataclasses import dataclass


def _spellings(word: str) -> tuple[str, ...]:
    """The ways in which a model begins an answer with this word, the plain one first."""
    cased = dict.fromkeys((word, word.capitalize(), word.upper()))
    return tuple(space + spelling for space in ("", " ") for spelling in cased)


@dataclass(frozen=True, slots=True)
class Labels:
    """The two labels; each is the set of spellings over which probabilities are summed.

    The first spelling of each is the one to show in the judging question. An engine takes the
    first token of each spelling, once, and leaves out a token that both labels begin with.

    Raises:
        ValueError: a label without spelling, an empty spelling, or one that both labels have.
    """

    positive: tuple[str, ...] = _spellings("positive")
    negative: tuple[str, ...] = _spellings("negative")

    def __post_init__(self) -> None:
        if not self.positive or not self.negative:
            raise ValueError("each label needs at least one spelling")
        if not all(map(str.strip, self.positive + self.negative)):
            raise ValueError("a label's spelling must not be empty")
        if shared := set(self.positive) & set(self.negative):
            raise ValueError(f"both labels are spelled {sorted(shared)[0]!r}")

    @classmethod
    def of(cls, positive: str, negative: str) -> Labels:
        """Labels from two words, with the usual spellings: capitals, and a space in front."""
        return cls(_spellings(positive), _spellings(negative))
