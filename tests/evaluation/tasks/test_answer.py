"""Extraction of the final answer from a completion."""

from __future__ import annotations

import pytest

from dreamr.evaluation.tasks import extract_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("One.\n\nAnswer: 23", "23"),
        ("Answer: 1\n\nAnswer: red\nmore", "red"),
        ("no marker 23", None),
        ("Answer:", ""),
    ],
)
def test_the_answer_follows_the_last_marker(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer
