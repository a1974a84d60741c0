"""Probabilities of given tokens: what a server thinks of a text that it did not write.

vLLM reports them in `prompt_logprobs`, with the most likely tokens at each place. It reads the
whole prompt again for them, without its prefix cache. With `skip_reading_prefix_cache: false`, one
such request ends a server of its V1 engine, so that field is never sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from dreamr.engines.http.fields import Field
from dreamr.engines.http.logprobs import read_logprob
from dreamr.gate import Evidence

# The two most likely tokens: the best other token is the second if the given one is the first.
ASK_MARGINS = {
    "prompt_logprobs": 2,
    "return_token_ids": True,
    "max_tokens": 1,
    "temperature": 0.0,
}
# The rank of each given token is reported whether or not others are asked for.
ASK_RANKS = {**ASK_MARGINS, "prompt_logprobs": 0}
_HALF = "\ufffd"  # a token that ends inside a character


@dataclass(frozen=True, slots=True)
class GivenToken:
    """One token of a prompt.

    Attributes:
        text: Its text.
        logprob: Its log-probability (nats).
        other: Log-probability of the most likely other token; None if none was reported.
        rank: 1 if no other token is likelier; None if the server does not tell.
    """

    text: str
    logprob: float
    other: float | None = None
    rank: int | None = None


def read_given(answer: Field) -> list[GivenToken | None]:
    """Return the tokens of the prompt; None for those without probabilities, as the first.

    Raises:
        EngineError: If a field cannot be read.
    """
    choice = answer.get("choices").first()
    listed = answer.get("prompt_logprobs")
    listed = choice.get("prompt_logprobs") if listed.value is None else listed
    ids = answer.get("prompt_token_ids")
    ids = choice.get("prompt_token_ids") if ids.value is None else ids
    known = [one.value for one in ids.items()]
    entries = listed.items()
    if len(known) != len(entries):
        known = [None] * len(entries)
    return [_given(entry, token) for entry, token in zip(entries, known, strict=True)]


def _given(entry: Field, token: object) -> GivenToken | None:
    """Return a token of the prompt from the probabilities at its place, by token id."""
    found = entry.fields()
    # The given token comes first if the ids of the prompt are unknown.
    name = str(token) if str(token) in found else next(iter(found), None)
    if name is None:
        return None
    values = {one: read_logprob(entry.get(one).get("logprob")) for one in found}
    logprob = values.pop(name)
    others = [value for value in values.values() if value is not None]
    if logprob is None:
        return None
    given = entry.get(name)
    text, rank = given.get("decoded_token").text(), given.get("rank").count()
    return GivenToken(text, logprob, max(others, default=None), rank)


def share_out(
    tokens: Sequence[GivenToken | None], steps: Sequence[str]
) -> list[list[GivenToken]] | None:
    """Return the tokens of each step at the end of a prompt.

    A token belongs to the step in which it ends. Servers may trim white space at the end of the
    prompt, and decode tokens without their leading space.

    Returns:
        None if the prompt does not end with the steps, or a token of them is unknown.
    """
    ends = list(accumulate(map(len, steps)))
    shares: list[list[GivenToken]] = [[] for _ in steps]
    left = "".join(steps)
    for token in reversed(tokens):
        if not left.strip():
            return [share[::-1] for share in shares]
        if token is None:
            return None
        rest = _without(left, token.text)
        if rest is None:
            return None
        number = next(place for place, end in enumerate(ends) if len(left) <= end)
        shares[number].append(token)
        left = rest
    return None


def text_before(text: str, tokens: Sequence[GivenToken]) -> str | None:
    """Return the part of a text before the tokens at its end.

    Returns:
        None if one of the tokens is part of a character: the text before it is unknown.
    """
    if any(_HALF in token.text for token in tokens):
        return None
    for token in reversed(tokens):
        text = _without(text, token.text) or ""
    return text


def _without(text: str, token: str) -> str | None:
    """Return the text without a token at its end, None if it does not end with the token."""
    bare = token.strip()
    if not bare or _HALF in bare:
        return text.removesuffix(token)
    for ended in (text, text.rstrip(), text.rstrip().rstrip(_not_ascii(text))):
        if ended.endswith(token):
            return ended.removesuffix(token)
        if ended.endswith(bare):
            return ended.removesuffix(bare)
        if bare.endswith(ended):  # it begins before the steps
            return ""
    return None


def _not_ascii(text: str) -> str:
    """Return the characters of a text that can be made of several tokens."""
    return "".join(character for character in set(text) if not character.isascii()) or "\0"


def margins(tokens: Sequence[GivenToken]) -> Evidence:
    """Return the evidence of a step's own tokens; without margins if other tokens are unknown."""
    pairs = [(token.logprob, token.other) for token in tokens if token.other is not None]
    if not tokens or len(pairs) < len(tokens):
        return Evidence(0.0, 0.0)
    logprobs = [given for given, _ in pairs]
    ratios = [_log_margin(given - other) for given, other in pairs]
    missed = [0.0 if given >= other else math.exp(other) for given, other in pairs]
    matched = next((place for place, share in enumerate(missed) if share), len(tokens))
    return Evidence(
        0.0,
        0.0,
        logprob=math.fsum(logprobs) / len(tokens),
        tokens=len(tokens),
        matched_tokens=matched,
        min_logprob=min(logprobs),
        mean_margin=math.exp(math.fsum(ratios) / len(tokens)),
        min_margin=math.exp(min(ratios)),
        surest_mismatch=max(missed),
    )


def _log_margin(difference: float) -> float:
    """Return the logarithm of 1 / (1 + exp(-difference)), without overflow."""
    if difference < 0:
        return difference - math.log1p(math.exp(difference))
    return -math.log1p(math.exp(-difference))
