"""Choosing tokens: drawing one from logits, repeatably, and guessing several.

The noise is counter-based: what is drawn at a position depends only on the seed, the position in
the assistant's text and the distribution there, never on how a stream came to that position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dreamr.engines.protocol import SamplingParams

_NGRAMS = (3, 2)  # so many tokens have to occur again before those behind them are guessed
_HEAD = 1024  # most draws fall within the likeliest tokens; sorting the whole vocabulary is slow


def choose(
    logits: torch.Tensor, sampling: SamplingParams, position: int
) -> tuple[int, float | None]:
    """The next token, and its log-probability (nats, before temperature and top_p) if wanted.

    logits: shape (vocabulary,), float32. position: in the assistant's text, in tokens.
    """
    if sampling.temperature > 0:
        token = int(_draw(logits, sampling, position))
    else:
        token = int(logits.argmax())
    return token, float(logits.log_softmax(0)[token]) if sampling.logprobs else None


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that belongs to this seed and position."""
    noise = np.random.Philox(key=seed % 2**64, counter=position << 64)
    return float(np.random.Generator(noise).random())


def _draw(logits: torch.Tensor, sampling: SamplingParams, position: int) -> torch.Tensor:
    """Inverse of the cumulative distribution, the likeliest token first, cut at top_p."""
    probabilities = (logits / sampling.temperature).softmax(0)
    point = uniform(sampling.seed, position)
    token = _nucleus_draw(probabilities, min(_HEAD, len(probabilities)), sampling.top_p, point)
    if token is None:
        token = _nucleus_draw(probabilities, len(probabilities), sampling.top_p, point)
    assert token is not None
    return token


def _nucleus_draw(
    probabilities: torch.Tensor, count: int, top_p: float, point: float
) -> torch.Tensor | None:
    """The draw if it lies among the `count` likeliest tokens, else None."""
    likely, tokens = probabilities.topk(count)
    sums = likely.double().cumsum(0)
    whole = count == len(probabilities)
    last, mass = count - 1, 1.0
    if top_p < 1:
        # The token that crosses top_p belongs to the nucleus.
        last = int(torch.searchsorted(sums, top_p))
        if last >= count and not whole:
            return None
        last = min(last, count - 1)
        mass = float(sums[last])
    place = int(torch.searchsorted(sums, point * mass, right=True))
    if place >= count and not whole:
        return None
    return tokens[min(place, last)]


def foreseen(logprobs: torch.Tensor, ids: list[int]) -> list[tuple[int, float]]:
    """What the model itself would write: `ids` as far as it would choose them, and one more.

    logprobs: of the row before the first of them, and of each.
    """
    chosen, tokens = logprobs.max(-1)
    own = list(zip(tokens.tolist(), chosen.tolist(), strict=True))
    same = next(
        (i for i, (given, (token, _)) in enumerate(zip(ids, own, strict=False)) if given != token),
        len(ids),
    )
    return own[: same + 1]


def guess(ids: Sequence[int], most: int) -> list[int]:
    """Up to `most` tokens that followed the last few when these occurred before: prompt lookup.

    The last three that did, or else two, where they last did; empty if none did: a pass that checks
    a guess costs more than a token, and one token alone is followed by too many things.
    """
    size = len(ids)
    for n in (n for n in _NGRAMS if n < size):
        last = list(ids[size - n :])
        for at in range(size - n - 1, -1, -1):
            if ids[at] == last[0] and ids[at : at + n] == last:
                return list(ids[at + n : at + n + most])
    return []
