"""Spoken questions to a gateway whose models do not hear."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.engines import Capabilities
from support.attachments import png, wav
from support.gateways import QUESTION, Answer, answer, asked
from support.pairs import Pair
from support.sounds import Scripted

DEAF = {"capabilities": Capabilities(logprobs=True, hears=False, hearing_problem="text only")}
IMAGE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + b64encode(png()).decode()},
}
SPOKEN = {
    "type": "input_audio",
    "input_audio": {"data": b64encode(wav()).decode(), "format": "wav"},
}
TYPED = {"type": "text", "text": QUESTION}


def answered(*parts: Any) -> Answer:
    return answer(
        asked(list(parts)),
        Pair(target=DEAF, draft=DEAF),
        options=RunOptions(deterministic=True, transcriber="small"),
        open_transcriber=lambda spec, model: Scripted({None: QUESTION}),
    )


@pytest.mark.parametrize("parts", [(), (IMAGE,)], ids=["alone", "with an image"])
def test_the_prompt_of_a_spoken_question_is_counted_as_the_models_got_it(parts: Any) -> None:
    spoken, typed = answered(*parts, SPOKEN), answered(*parts, TYPED)
    assert spoken.status == 200
    tokens = spoken.json["usage"]["prompt_tokens"]
    assert tokens == typed.json["usage"]["prompt_tokens"] > 0
