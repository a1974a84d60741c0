"""A tokenizer and a maker of examples, made once."""

import pytest

pytest.importorskip("transformers")

from transformers import PreTrainedTokenizerFast

from dreamr.training._examples import ExampleMaker
from dreamr.training._tokens import train_tokenizer
from dreamr.training.recipe import corpus


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(corpus(100))


@pytest.fixture(scope="session")
def maker(tokenizer: PreTrainedTokenizerFast) -> ExampleMaker:
    return ExampleMaker(tokenizer)
