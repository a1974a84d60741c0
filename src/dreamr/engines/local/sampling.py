"""Choice of tokens: reproducible draws from logits, and guesses of several tokens.

The noise is counter-based. The draw at a position depends only on the seed, the position in the
assistant's text and the distribution there, not on how a stream reached the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
)

from dreamr.engines.protocol import SamplingParams
from dreamr.errors import Unsupported

_NGRAMS = (3, 2)  # lengths of the token sequences that are looked up, in this order
_COLDEST = 1e-20  # temperature; equals greedy choice, and quotients of logits stay finite
_HEAD = 1024  # tokens sorted at first; most draws are among them, and sorting all is slow


def choose(
    logits: torch.Tensor, sampling: SamplingParams, position: int, ids: Sequence[int] = ()
) -> tuple[int, float | None]:
    """Choose the next token.

    Args:
        logits: Shape (vocabulary,), float32.
        sampling: How to choose.
        position: Position in the assistant's text, in tokens.
        ids: Tokens so far; the last `position` of them are the assistant's. Only needed for
            penalties.

    Returns:
        The token, and its log-probability (nats, before penalties, temperature and top_p) if
        `sampling` asks for it, else None.

    Raises:
        Unsupported: If a biased token is not in the vocabulary.
    """
    scores = _adjusted(logits, sampling, position, ids) if sampling.adjusts else logits
    if sampling.temperature > 0:
        token = int(_draw(scores, sampling, position))
    else:
        token = int(scores.argmax())
    return token, float(logits.log_softmax(0)[token]) if sampling.logprobs else None


def entropy_of(logits: torch.Tensor) -> float:
    """Return the entropy (nats) of the distribution with these logits, shape (vocabulary,)."""
    logprobs = logits.log_softmax(0)
    return float(-(logprobs.exp() * logprobs).nan_to_num().sum())  # 0 log 0 is 0


def uniform(seed: int, position: int) -> float:
    """Return the number in [0, 1) that belongs to a seed and a position."""
    noise = np.random.Philox(key=seed % 2**64, counter=position << 64)
    return float(np.random.Generator(noise).random())


def _adjusted(
    logits: torch.Tensor, sampling: SamplingParams, position: int, ids: Sequence[int]
) -> torch.Tensor:
    """Return the logits with biases and penalties.

    As in vLLM, the penalty of repetition counts the prompt too. The others count the assistant's
    text, which includes what other models wrote.
    """
    scores = logits.clone()
    for token, bias in sampling.logit_bias:
        if not 0 <= token < len(scores):
            raise Unsupported(
                f"token {token} of logit_bias is not among the model's {len(scores)} tokens"
            )
        scores[token] += bias
    if ids and sampling.repetition_penalty != 1:
        seen = torch.tensor([list(ids)], device=scores.device)
        penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
        scores = penalty(seen, scores[None])[0]
    if position and (sampling.presence_penalty or sampling.frequency_penalty):
        text = torch.tensor(list(ids[len(ids) - position :]), device=scores.device)
        counts = torch.bincount(text, minlength=len(scores))
        scores = scores - sampling.frequency_penalty * counts
        scores = scores - sampling.presence_penalty * (counts > 0)
    return scores


def _draw(logits: torch.Tensor, sampling: SamplingParams, position: int) -> torch.Tensor:
    """Invert the cumulative distribution, most likely token first, cut at top_p."""
    scores = (logits / max(sampling.temperature, _COLDEST))[None]
    none: Any = None  # these warpers do not look at the tokens
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(none, scores)
    if sampling.min_p:
        scores = MinPLogitsWarper(sampling.min_p)(none, scores)
    probabilities = scores[0].softmax(0)
    point = uniform(sampling.seed, position)
    token = _nucleus_draw(probabilities, min(_HEAD, len(probabilities)), sampling.top_p, point)
    if token is None:
        token = _nucleus_draw(probabilities, len(probabilities), sampling.top_p, point)
    assert token is not None
    return token


def _nucleus_draw(
    probabilities: torch.Tensor, count: int, top_p: float, point: float
) -> torch.Tensor | None:
    """Return the draw if it is among the `count` most likely tokens, else None."""
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


def greedy_prefix(logprobs: torch.Tensor, ids: list[int]) -> list[tuple[int, float]]:
    """Return the tokens that the model itself would write, with their log-probabilities.

    These are `ids` up to the first token that the model would not choose, and its own choice there.

    Args:
        logprobs: Shape (len(ids) + 1, vocabulary); row i predicts token i.
        ids: Tokens to compare with.
    """
    chosen, tokens = logprobs.max(-1)
    own = list(zip(tokens.tolist(), chosen.tolist(), strict=True))
    same = next(
        (i for i, (given, (token, _)) in enumerate(zip(ids, own, strict=False)) if given != token),
        len(ids),
    )
    return own[: same + 1]


def guess(ids: Sequence[int], most: int) -> list[int]:
    """Guess up to `most` tokens by prompt lookup: what followed the last few tokens earlier.

    The last three tokens are looked up, then the last two, and their latest occurrence counts.
    Empty if there is none. A single token is not looked up, because too many tokens can follow it
    and a pass that checks a guess costs more than a token.
    """
    size = len(ids)
    for n in (n for n in _NGRAMS if n < size):
        last = list(ids[size - n :])
        for at in range(size - n - 1, -1, -1):
            if ids[at] == last[0] and ids[at : at + n] == last:
                return list(ids[at + n : at + n + most])
    return []
