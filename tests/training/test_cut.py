from __future__ import annotations

from dreamr_testbed import PAIR
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dreamr.engines.local.detokenize import Texts
from dreamr.steps import Ending, StepSplitter
from dreamr.training.rollout import cut, reasoning

TOKENIZER = PreTrainedTokenizerFast.from_pretrained(PAIR / "draft")
TEXTS = Texts(TOKENIZER.backend_tokenizer, frozenset(TOKENIZER.all_special_ids))


def tokens(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False))


def test_a_completion_is_split_into_steps_with_exact_token_counts() -> None:
    parts = ["Needed: tea and milk.\n\n", "Line 1: tea 3 x 4 = 12.\n\n", "Answer: 12"]
    ids = [token for part in parts for token in tokens(part)]
    steps = cut(ids, TEXTS, StepSplitter(), truncated=False)
    assert [step.text for step in steps] == parts
    assert [step.tokens for step in steps] == [len(tokens(part)) for part in parts]
    assert [step.text for step in reasoning(steps, marked=True)] == parts[:2]


def test_a_truncated_completion_ends_with_a_capped_step() -> None:
    steps = cut(tokens("Needed: tea.\n\nLine 1"), TEXTS, StepSplitter(), truncated=True)
    assert [step.ending for step in steps] == [Ending.DELIMITER, Ending.CAP]


@given(st.lists(st.integers(5, 800), max_size=60))
def test_no_token_is_counted_twice_or_lost(ids: list[int]) -> None:
    splitter = StepSplitter()
    steps = cut(ids, TEXTS, splitter, truncated=True)
    # The tokens of an incomplete character at the end belong to no step.
    assert sum(step.tokens for step in steps) + splitter.pending_tokens == len(ids)
