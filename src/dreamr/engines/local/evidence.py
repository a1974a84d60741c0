"""Evidence from the rows of a judging pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from dreamr.gate import Evidence

_LABELS = 2  # answers of a question about a verdict; ratings have ten


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to a judge prompt.

    Attributes:
        masses: Probability of each label or rating. Empty if nothing was asked.
        top: Whether the most likely token is one of them. None if nothing was asked.
    """

    masses: Sequence[float] = ()
    top: bool | None = None


NO_ANSWER = Answer()


def read_answers(shares: torch.Tensor, answers: Sequence[torch.Tensor]) -> list[Answer]:
    """Return the answer of each row.

    Args:
        shares: Probabilities of the next token, shape (rows, vocabulary).
        answers: Tokens of each label or rating.
    """
    masses = torch.stack([shares[:, tokens].sum(-1) for tokens in answers], -1).tolist()
    known = torch.isin(shares.argmax(-1), torch.cat(tuple(answers))).tolist()
    return [Answer(one, top) for one, top in zip(masses, known, strict=True)]


def answered(evidence: Evidence, answer: Answer) -> Evidence:
    """Return the evidence with the answer to the judge prompt."""
    if len(answer.masses) == _LABELS:
        positive, negative = answer.masses
        return replace(evidence, positive=positive, negative=negative, top_label=answer.top)
    return replace(evidence, scores=tuple(answer.masses))


def with_confidence(evidence: Evidence, logprobs: torch.Tensor, ids: list[int]) -> Evidence:
    """Return the evidence with the model's confidence in the tokens of the step.

    Args:
        evidence: What is known of the step.
        logprobs: Rows that predict the tokens, shape (tokens, vocabulary).
        ids: The tokens.
    """
    tokens = torch.tensor(ids, device=logprobs.device)[:, None]
    own = logprobs.gather(1, tokens)[:, 0]
    best = logprobs.topk(2, 1)
    chosen = best.indices[:, 0] == tokens[:, 0]
    # The best other token is the second best where the step's own token is the best.
    other = torch.where(chosen, best.values[:, 1], best.values[:, 0])
    ratios = functional.logsigmoid(own - other)
    missed = torch.where(chosen, 0.0, best.values[:, 0].exp())
    figures = [own.mean(), own.min(), ratios.mean().exp(), ratios.min().exp(), missed.max()]
    mean, least, mean_margin, min_margin, mismatch = torch.stack(figures).tolist()
    return replace(
        evidence,
        logprob=mean,
        min_logprob=least,
        mean_margin=mean_margin,
        min_margin=min_margin,
        surest_mismatch=mismatch,
    )
