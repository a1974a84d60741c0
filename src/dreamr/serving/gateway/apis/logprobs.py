"""Log-probabilities of an answer in the format of OpenAI's APIs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dreamr.answers import TokenLogprob


def logprobs_json(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Return log-probabilities of tokens, each with those of its alternatives."""
    return [{**_one(token), "top_logprobs": list(map(_one, token.top))} for token in tokens]


def _one(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.encoded)}
