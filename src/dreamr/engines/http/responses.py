"""Read JSON responses: probabilities of words and tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from dreamr.errors import EngineError

Json = Mapping[str, Any]


def parse_json(text: str, url: str) -> Any:
    """Parse a response as JSON.

    Raises:
        EngineError: If it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise EngineError(f"{url} did not return JSON: is the address right?") from error


def chosen_logprobs(logprobs: Json | None) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens of a piece."""
    if not logprobs:
        return ()
    if logprobs.get("content"):
        return tuple(token["logprob"] for token in logprobs["content"])
    return tuple(value for value in logprobs.get("token_logprobs") or () if value is not None)


def top_words(answer: Json) -> dict[str, float]:
    """Return the probabilities of the first token's most likely texts; empty if unknown."""
    choice: Json = next(iter(answer.get("choices") or ()), {})
    logprobs: Json = choice.get("logprobs") or {}
    first = next(iter(logprobs.get("content") or ()), None)
    if first is not None:
        pairs: Iterable[tuple[str, float]] = (
            (top["token"], top["logprob"]) for top in first.get("top_logprobs") or (first,)
        )
    else:
        listed = logprobs.get("top_logprobs") or ()
        pairs = (listed[0] or {}).items() if listed else ()
    found: dict[str, float] = {}
    for text, logprob in pairs:  # several tokens can have the same text
        found[text] = found.get(text, 0.0) + math.exp(min(0.0, logprob))
    return found


def masses(words: Mapping[str, float], labels: Iterable[Iterable[str]]) -> list[float]:
    """Return the probability that an answer begins with each label.

    A token counts for a label if it is one of the label's spellings or a beginning of one. A token
    that could begin several labels counts for none.

    Args:
        words: Probabilities of the first token, by its text.
        labels: Spellings of each label.
    """
    spelled = [tuple(spellings) for spellings in labels]
    found = [0.0] * len(spelled)
    for text, probability in words.items():
        if not text.strip():
            continue
        fits = [
            place
            for place, spellings in enumerate(spelled)
            if any(spelling.startswith(text) for spelling in spellings)
        ]
        if len(fits) == 1:
            found[fits[0]] += probability
    return [min(1.0, mass) for mass in found]
