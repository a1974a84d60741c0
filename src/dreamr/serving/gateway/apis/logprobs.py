"""Log-probabilities of an answer: where its tokens begin, and the format of OpenAI's APIs."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dreamr.answers import TokenLogprob


def logprobs_json(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Return log-probabilities of tokens, each with those of its alternatives."""
    return [{**_one(token), "top_logprobs": list(map(_one, token.top))} for token in tokens]


def starts_of(tokens: Iterable[TokenLogprob], place: int = 0) -> Iterator[int]:
    """Yield where tokens begin, in characters.

    Args:
        tokens: The tokens, in order.
        place: Where the first one begins.
    """
    decoder = getincrementaldecoder("utf-8")("ignore")  # a token can be a part of a character
    for token in tokens:
        yield place
        place += len(decoder.decode(_bytes(token)))


def logprobs_until(end: int, text: str, tokens: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """Return the log-probabilities of the tokens that begin before the end of a text.

    Args:
        end: Number of characters before the end.
        text: The text with what follows its end.
        tokens: Its tokens, maybe with blanks around it that the text does not have.
    """
    written = b"".join(map(_bytes, tokens)).decode(errors="ignore")
    end += max(0, written.find(text))
    places = zip(tokens, starts_of(tokens), strict=True)
    return tuple(token for token, start in places if start < end)


def _bytes(token: TokenLogprob) -> bytes:
    return token.token.encode() if token.raw is None else bytes(token.raw)


def _one(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(_bytes(token))}
