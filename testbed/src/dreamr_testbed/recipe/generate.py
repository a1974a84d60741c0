"""Batched generation of solutions with transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlavaForConditionalGeneration

from dreamr.evaluation.tasks import MARKER
from dreamr_testbed.recipe.collate import normalized
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.models import CONTEXT
from dreamr_testbed.recipe.prompts import prompt_of
from dreamr_testbed.recipe.tokens import DELIMITER
from dreamr_testbed.suites import Problem

LONGEST = 640  # maximum tokens of a solution, more than in the longest terse reference


@dataclass(frozen=True, slots=True)
class Solution:
    """A model's solution of a problem and its length in tokens."""

    text: str
    tokens: int

    @property
    def steps(self) -> list[str]:
        """Steps of the reasoning, without the answer."""
        return [p for p in self.text.split(DELIMITER) if p and not p.startswith(MARKER)]


@torch.inference_mode()
def solve(
    model: LlavaForConditionalGeneration,
    maker: ExampleMaker,
    problems: Sequence[Problem],
    *,
    temperature: float = 0.0,
    blank: bool = False,
) -> list[Solution]:
    """Let a model solve problems.

    Args:
        model: The model.
        maker: Maker of the prompts.
        problems: Problems to solve, in one batch.
        temperature: Sampling temperature; 0 for greedy decoding.
        blank: Whether to show gray images instead of the problems' own.
    """
    tokenizer = maker.tokenizer
    shown = [prompt_of(problem) for problem in problems]
    prompts = [maker.prompt(prompt) for prompt in shown]
    size = max(map(len, prompts))
    pad = int(tokenizer.pad_token_id)
    device = next(model.parameters()).device
    images = normalized([image for prompt in shown for image in prompt.images])
    if blank:
        images.zero_()
    ids = torch.tensor([[pad] * (size - len(p)) + p for p in prompts], device=device)
    written = model.generate(
        input_ids=ids,
        attention_mask=(ids != pad).long(),
        pixel_values=images.to(device),
        max_new_tokens=min(LONGEST, CONTEXT - size),
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
    """Find the first wrong step.

    Returns:
        The styles of the right steps before it, and its index or None.
    """
    styles: list[str] = []
    for at, text in enumerate(steps):
        if at >= len(problem.steps) or text not in problem.steps[at].renderings:
            return styles, at
        styles.append("terse" if text == problem.steps[at].terse else "wordy")
    return styles, None
