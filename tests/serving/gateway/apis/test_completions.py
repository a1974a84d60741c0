"""Completions of a text, over the official client."""

from __future__ import annotations

from typing import Any

import pytest

from support.gateways import QUESTION
from support.pairs import RIGHT

openai = pytest.importorskip("openai")


@pytest.mark.parametrize("prompt", [QUESTION, [QUESTION]])
def test_a_prompt_is_answered(client: openai.OpenAI, prompt: Any) -> None:
    found = client.completions.create(model="dreamr", prompt=prompt)
    [choice] = found.choices
    assert (choice.text, choice.finish_reason) == ("3.70", "stop")
    assert choice.reasoning == "".join(RIGHT[:2])
    assert found.usage.total_tokens == 15


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model="dreamr", prompt=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == "3.70"
    assert choices[-1].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == 15


def test_a_stop_sequence_ends_the_text(client: openai.OpenAI) -> None:
    found = client.completions.create(model="dreamr", prompt=QUESTION, stop=".")
    assert found.choices[0].text == "3"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"echo": True}, "echo = true"),
        ({"n": 2}, "n = 2"),
        ({"logprobs": 3}, "logprobs = 3"),
        ({"suffix": "x"}, "suffix"),
        ({"prompt": ["a", "b"]}, "only one prompt"),
        ({"prompt": [1, 2]}, "token ids"),
        ({"prompt": ""}, "must not be empty"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(
    client: openai.OpenAI, more: dict[str, Any], what: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=what):
        client.completions.create(**{"model": "dreamr", "prompt": QUESTION, **more})
