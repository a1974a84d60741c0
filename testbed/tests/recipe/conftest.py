"""Shared tokenizer and maker of examples."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed.recipe.corpus import corpus
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.tokens import train_tokenizer
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(corpus(100))


@pytest.fixture(scope="session")
def maker(tokenizer: PreTrainedTokenizerFast) -> ExampleMaker:
    return ExampleMaker(tokenizer)
