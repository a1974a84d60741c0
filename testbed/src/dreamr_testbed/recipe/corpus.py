"""Texts of the suites, and the tokenizer that is trained on them."""

from __future__ import annotations

from pathlib import Path

from dreamr_testbed.recipe.models import load_tokenizer
from dreamr_testbed.recipe.tokens import (
    CHAT_TEMPLATE,
    DELIMITER,
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    train_tokenizer,
)
from dreamr_testbed.suites import SUITES, make_problem
from dreamr_testbed.suites.words import READ


def corpus(count: int = 2000) -> list[str]:
    """Return texts of the suites for training the tokenizer."""
    texts = [JUDGE_QUESTION, READ, POSITIVE, NEGATIVE, DELIMITER] * 200
    for suite in SUITES:
        for index in range(count):
            problem = make_problem(suite, "train", index)
            texts += [problem.question, problem.scene.transcript, problem.final]
            texts += [text for step in problem.steps for text in step.renderings]
    return texts


def make_tokenizer(folder: Path, start: Path | None) -> None:
    """Save the tokenizer of a training once: that of the model to start from, or a new one.

    Raises:
        ModelNotFound: If there is no model to start from.
    """
    if folder.exists():
        return
    source = load_tokenizer(start) if start else train_tokenizer(corpus())
    source.chat_template = CHAT_TEMPLATE  # the one that the examples follow
    source.save_pretrained(folder)
