"""Whole solutions, many at a time, by transformers' own generate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration

from dreamr.evaluation.tasks import MARKER, Problem
from dreamr_testbed.recipe.examples import ExampleMaker, normalized
from dreamr_testbed.recipe.tokens import DELIMITER

LONGEST = 420  # tokens of a solution; the longest reference has fewer


@dataclass(frozen=True, slots=True)
class Solution:
    """What a model wrote for a problem, and how many tokens it took."""

    text: str
    tokens: int

    @property
    def steps(self) -> list[str]:
        """The reasoning cut into steps, without the answer."""
        return [p for p in self.text.split(DELIMITER) if p and not p.startswith(MARKER)]


@torch.inference_mode()
def solve(
    model: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problems: Sequence[Problem],
    *,
    temperature: float = 0.0,
    images: torch.Tensor | None = None,
) -> list[Solution]:
    """One solution for each problem, greedy or sampled; `pictures` instead of their own."""
    tokenizer = maker.tokenizer
    prompts = [maker.prompt(problem.question) for problem in problems]
    size = max(map(len, prompts))
    pad = int(tokenizer.pad_token_id)
    device = next(model.parameters()).device
    if images is None:
        images = normalized([np.asarray(problem.image) for problem in problems])
    ids = torch.tensor([[pad] * (size - len(p)) + p for p in prompts], device=device)
    written = model.generate(
        input_ids=ids,
        attention_mask=(ids != pad).long(),
        pixel_values=images.to(device),
        max_new_tokens=LONGEST,
        do_sample=temperature > 0,
        **({"temperature": temperature} if temperature > 0 else {}),
    )[:, size:]
    return [
        Solution(
            tokenizer.decode(row[row != pad], skip_special_tokens=True), int((row != pad).sum())
        )
        for row in written
    ]


def first_wrong(problem: Problem, steps: Sequence[str]) -> tuple[list[str], int | None]:
    """The styles of the leading right steps, and where the first wrong one is (None: nowhere)."""
    styles: list[str] = []
    for at, text in enumerate(steps):
        if at >= len(problem.steps) or text not in problem.steps[at].renderings:
            return styles, at
        styles.append("terse" if text == problem.steps[at].terse else "wordy")
    return styles, None
