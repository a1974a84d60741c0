"""A prompt has the tokens and images that a run shows to the model."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe.collate import normalized
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.models import IMAGE_TOKENS
from dreamr_testbed.recipe.prompts import Prompt, prompt_of
from dreamr_testbed.suites import EXTRA_SUITES, SUITES, conversation_of, make_problem
from transformers import AutoProcessor, PreTrainedTokenizerFast

from dreamr.conversation import Text, flatten, to_pillow


def content_of(problem):
    """Return the content of the chat template for a problem, and its images."""
    content, images = [], []
    for part in flatten(conversation_of(problem)).turns[0].parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        else:
            content.append({"type": "image"})
            images.append(to_pillow(part))
    return content, images


@pytest.mark.parametrize("suite", sorted({*SUITES, *EXTRA_SUITES} - {"spoken"}))
def test_a_prompt_equals_that_of_the_chat_template_and_the_processor(suite):
    processor = AutoProcessor.from_pretrained(PAIR / "target")
    maker = ExampleMaker(PreTrainedTokenizerFast.from_pretrained(PAIR / "target"))
    for index in range(3):
        problem = replace(make_problem(suite, "test", index), file=(None, "bill 3.pdf")[index % 2])
        content, images = content_of(problem)
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        expected = processor(images=images, text=text, return_tensors="pt")
        prompt = prompt_of(problem)
        assert maker.prompt(prompt) == expected["input_ids"][0].tolist()
        torch.testing.assert_close(normalized(prompt.images), expected["pixel_values"])


def test_pages_are_introduced_by_their_numbers():
    prompt = prompt_of(make_problem("pages", "test", 0, 1))
    assert prompt.leads == ("Page 1:\n", "Page 2:\n")


def test_a_prompt_has_a_place_for_each_image_token(maker):
    image = maker.ids("<image>")[0]
    prompt = prompt_of(make_problem("clip", "test", 0, 1))
    assert maker.prompt(prompt).count(image) == 4 * IMAGE_TOKENS
    assert maker.prompt(Prompt("How many?")).count(image) == 0
