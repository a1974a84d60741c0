"""Spoken questions to a gateway whose models do not hear."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.engines import Capabilities
from dreamr.serving.gateway.memory import Retention
from support.attachments import png, wav
from support.gateways import QUESTION, Answer, Gateway, answer, asked, use
from support.pages import noting
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
TRANSCRIBED = RunOptions(deterministic=True, transcriber="small")


def open_scripted(spec: str, model: str | None) -> Scripted:
    return Scripted({None: QUESTION})


def answered(*parts: Any) -> Answer:
    return answer(
        asked(list(parts)),
        Pair(target=DEAF, draft=DEAF),
        options=TRANSCRIBED,
        open_transcriber=open_scripted,
    )


@pytest.mark.parametrize("parts", [(), (IMAGE,)], ids=["alone", "with an image"])
def test_the_prompt_of_a_spoken_question_is_counted_as_the_models_got_it(parts: Any) -> None:
    spoken, typed = answered(*parts, SPOKEN), answered(*parts, TYPED)
    assert spoken.status == 200
    tokens = spoken.json["usage"]["prompt_tokens"]
    assert tokens == typed.json["usage"]["prompt_tokens"] > 0


def test_what_engines_keep_of_a_spoken_conversation_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Retention.__init__, "__defaults__", (0,))  # nothing is kept
    seen, forgotten = list[Conversation](), list[Conversation]()
    pair = Pair(target=DEAF | noting(seen).target, draft=DEAF)

    async def work(gate: Gateway) -> None:
        for engine in gate.pair.opened.values():
            engine.forget = forgotten.append  # type: ignore[method-assign]
        assert (await gate.ask(asked([IMAGE, SPOKEN]))).status == 200
        assert set(forgotten) == set(seen)
        assert not any(one.sounds for one in forgotten)

    use(work, pair, options=TRANSCRIBED, open_transcriber=open_scripted)
