"""Where the tokens of an answer begin, by their log-probabilities."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Sequence

from dreamr.answers.pieces import TokenLogprob


def starts_of(tokens: Iterable[TokenLogprob], place: int = 0) -> Iterator[int]:
    """Yield where tokens begin, in characters.

    Args:
        tokens: The tokens, in order.
        place: Where the first one begins.
    """
    decoder = getincrementaldecoder("utf-8")("ignore")  # a token can be a part of a character
    for token in tokens:
        yield place
        place += len(decoder.decode(token.encoded))


def logprobs_until(end: int, text: str, tokens: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """Return the log-probabilities of the tokens that begin before the end of a text.

    Args:
        end: Number of characters before the end.
        text: The text with what follows its end.
        tokens: Its tokens, maybe with blanks around it that the text does not have.
    """
    written = b"".join(token.encoded for token in tokens).decode(errors="ignore")
    end += max(0, written.find(text))
    places = zip(tokens, starts_of(tokens), strict=True)
    return tuple(token for token, start in places if start < end)
