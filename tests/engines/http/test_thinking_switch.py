"""Fields of requests that switch thinking: what a server takes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx2
import pytest

from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine
from support.served import Served
from support.served_calls import TALK, use
from support.templated import Templated

STEP = "First, count the circles.\n\n"


@dataclass
class WithMistralTokenizer(Templated):
    """A vLLM with `--tokenizer-mode mistral`, which renders prompts without a chat template."""

    family: str = "mistral3"

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        if request.url.path.startswith("/v1/chat/") and "chat_template_kwargs" in body:
            message = "chat_template is not supported for Mistral tokenizers."
            return httpx2.Response(400, json={"error": {"message": message, "code": 400}})
        return await Templated.handle(self, request)


def mistral(model: str) -> WithMistralTokenizer:
    served = WithMistralTokenizer(script="Four")
    served.models = (model,)
    return served


@pytest.mark.parametrize("thinking", ["auto", "on", "off"])
@pytest.mark.parametrize("model", ["Ministral-3-8B-Instruct-2512", "Magistral-Small-2509", "mine"])
def test_a_server_that_takes_no_template_variables_writes_and_judges(
    model: str, thinking: str
) -> None:
    served = mistral(model)

    async def work(engine: HttpEngine) -> None:
        assert engine.capabilities.judge
        stream = engine.stream(Context(TALK), SamplingParams())
        assert "".join([chunk.text async for chunk in stream]) == "Four"
        [evidence] = await engine.judge(Context(TALK), [STEP])
        assert evidence.positive > evidence.negative

    use(served, work, thinking=thinking)


@pytest.mark.parametrize(("thinking", "effort"), [("auto", None), ("on", "high"), ("off", "none")])
def test_the_effort_of_a_mistral_model_is_a_field_of_its_own_for_vllm(
    thinking: str, effort: str | None
) -> None:
    served = mistral("Mistral-Medium-3.5-128B")

    async def work(engine: HttpEngine) -> None:
        assert engine.capabilities.judge
        assert [chunk async for chunk in engine.stream(Context(TALK), SamplingParams())]
        assert served.chats[-1].get("reasoning_effort") == effort
        await engine.judge(Context(TALK), [STEP])
        assert served.chats[-1]["reasoning_effort"] == "none"  # a verdict needs no thought

    use(served, work, thinking=thinking)


@pytest.mark.parametrize("thinking", ["on", "off"])
@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (Served(owner="library", models=("qwen3.6:27b",)), "on vLLM, SGLang and llama.cpp only"),
        (Served(owner="", models=("mine",)), "on vLLM, SGLang and llama.cpp only"),
        (mistral("mine"), "the server takes no chat_template_kwargs"),
        (Served(owner="library", models=("qwen3-vl:8b-instruct",)), ""),  # never thinks
        (Served(models=("Qwen/Qwen3.6-27B",)), ""),
    ],
)
def test_a_server_whose_thinking_is_not_switched_is_named(
    served: Served, reason: str, thinking: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(engine: HttpEngine) -> None: ...

    use(served, work, thinking=thinking)
    assert reason in caplog.text
    assert (f"--thinking {thinking} has no effect on" in caplog.text) is bool(reason)
