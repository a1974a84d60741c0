"""Small random models of several families on a real vLLM, with templates like the published ones.

Each text is continued and judged after exactly the prompt that wrote it: as rendered by the server,
and as counted by it. One server runs at a time.
"""

from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.client import Client
from dreamr.engines.http.rendering import RenderedPrompts

FAMILIES = (
    "qwen3_vl_instruct", "qwen3_vl_thinking", "qwen3_5", "qwen2_5_vl", "internvl", "mistral3",
    "idefics3", "glm4v",
)  # fmt: skip
pytestmark = [
    pytest.mark.server,
    pytest.mark.parametrize("family", FAMILIES, indirect=True, scope="module"),
]
IMAGE = Image(bytes(range(256)) * 48, 64, 64)
STEPS = ("First, count the circles.\n\n", "There are four of them.\n\n")
HELLO = (Turn("user", (Text("Hello"),)), Turn("assistant", (Text("Hello to you"),)))
SEEN = (Turn("user", (IMAGE, Text("What is it?"))), Turn("assistant", (Text("A circle"),)))
ASKED = Turn("user", (Text("How many?"),))
TALKS = {
    "question": Conversation((ASKED,)),
    "turns": Conversation((*HELLO, ASKED)),
    "image": Conversation.from_prompt("How many?", IMAGE),
    "two images": Conversation.from_prompt("How many?", IMAGE, IMAGE),
    "image last": Conversation((Turn("user", (Text("How many?"), IMAGE)),)),
    "image before": Conversation((*SEEN, ASKED)),
}


@pytest.mark.parametrize("thinking", ["auto", "on", "off"])
@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_a_text_is_continued_and_judged_after_the_prompt_that_wrote_it(
    family: tuple[str, str], talk: Conversation, thinking: str
) -> None:
    _, url = family

    async def work() -> None:
        options = HttpOptions(url=url, thinking=thinking)  # type: ignore[arg-type]
        async with await HttpEngine.open(options) as engine:
            info, client = engine.server_info, Client(options)
            prompts = RenderedPrompts(client, options, info.model, "tokenize")
            route, text = info.route_for(talk), "".join(STEPS)
            kept = text.rstrip() if route.trims else text
            opened = {"add_generation_prompt": True, **await route.opened(talk)}
            continued = await route.continued(talk, text)
            first = await prompts.text(opened)
            assert await prompts.text(continued) == first + kept
            asked = {
                "add_generation_prompt": True,
                **await route.with_question(talk, text, "Is it right?"),
            }
            assert (await prompts.text(asked)).startswith(first + text.rstrip())
            counted = prompts.counted
            before = await counted.length(route, await route.opened(talk))
            own = await prompts.tokens({"prompt": kept, "add_special_tokens": False})
            assert await counted.length(route, continued) == before + len(own)
            await engine.judge(Context(talk, STEPS[:1]), STEPS[1:])
            await client.aclose()

    anyio.run(work)


def test_a_text_in_two_requests_is_that_of_one(family: tuple[str, str]) -> None:
    name, url = family
    if name == "qwen3_5":
        pytest.skip("random models drift in bfloat16")

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            for talk in TALKS.values():
                whole = await written(engine, Context(talk), 24)
                begun = await written(engine, Context(talk), 8)
                rest = await written(engine, Context(talk, (begun,)), 16)
                assert begun + rest == whole

    anyio.run(work)


async def written(engine: HttpEngine, context: Context, tokens: int) -> str:
    stream = engine.stream(context, SamplingParams(max_tokens=tokens))
    return "".join([chunk.text async for chunk in stream])
