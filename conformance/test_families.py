"""Small random models of several families on a real vLLM, with templates like the published ones.

Each text is continued and judged after exactly the prompt that wrote it: as rendered by the server,
and as counted by it. One of these servers runs at a time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Context, SamplingParams, open_model
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.client import Client
from dreamr.engines.http.rendering import RenderedPrompts
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.trace import Note
from support.real_served import Served, written

# Families, with flags of the server, and the routes of conversations without and with images.
ROUTES = {
    "qwen3_vl_thinking": ("text", "carried"),
    "qwen3_vl_thinking --enable-scale-out": ("tokens", "tokens"),
    "qwen3_5": ("text", "carried"),
    "qwen3_vl_instruct": ("chat", "chat"),
    "qwen2_5_vl": ("chat", "chat"),
    "internvl": ("chat", "chat"),
    "mistral3": ("chat", "chat"),
    "idefics3": ("text", "carried"),
    "glm4v": ("text", "carried"),
    "gemma3": ("text", "carried"),
    "gemma4": ("text", "carried"),
    "llava_onevision": ("text", "carried"),
}
USUAL = 3  # of these are tried without --all: together they take each route
# vLLM 0.32 answers with status 500 where it should find an image of theirs by its id.
WHOLE_IMAGES = ("gemma4",)
THOUGHT = 24  # tokens
SIDE = 128  # pixels
SCALED = "--enable-scale-out"  # later requests name the features, not the image
OTHERS = 40  # images that do not fit into the server's cache together


def noise(seed: int) -> Image:
    return Image(random.Random(seed).randbytes(3 * SIDE * SIDE), SIDE, SIDE)


IMAGE = noise(0)
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
pytestmark = pytest.mark.server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    families = list(ROUTES)[: None if metafunc.config.getoption("--all") else USUAL]
    metafunc.parametrize("family", families, indirect=True, scope="module")


@pytest.mark.parametrize("thinking", ["auto", "on", "off"])
def test_a_text_is_continued_and_judged_after_the_prompt_that_wrote_it(
    family: Served, thinking: str
) -> None:
    _, url = family

    async def work() -> None:
        options = HttpOptions(url=url, thinking=thinking)  # type: ignore[arg-type]
        async with await HttpEngine.open(options) as engine:
            client = Client(options)
            prompts = RenderedPrompts(client, options, engine.server_info.model, "tokenize")
            for about, talk in TALKS.items():
                await check(engine, prompts, talk, about)
            await client.aclose()

    anyio.run(work)


async def check(
    engine: HttpEngine, prompts: RenderedPrompts, talk: Conversation, about: str
) -> None:
    route, text = engine.server_info.route_for(talk), "".join(STEPS)
    kept = text.rstrip() if route.trims else text
    opened = {"add_generation_prompt": True, **await route.opened(talk)}
    continued = await route.continued(talk, text)
    first = await prompts.text(opened)
    assert await prompts.text(continued) == first + kept, about
    question = await route.with_question(talk, text, "Is it right?")
    asked = {"add_generation_prompt": True, **question}
    assert (await prompts.text(asked)).startswith(first + text.rstrip()), about
    before = await prompts.counted.length(route, await route.opened(talk))
    own = await prompts.tokens({"prompt": kept, "add_special_tokens": False})
    assert await prompts.counted.length(route, continued) == before + len(own), about
    await engine.judge(Context(talk, STEPS[:1]), STEPS[1:])


def test_the_routes_are_those_of_the_documentation(family: Served) -> None:
    name, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            found = [engine.route_name(TALKS[about]) for about in ("question", "image")]
            assert tuple(found) == ROUTES[name]

    anyio.run(work)


def test_a_text_in_two_requests_is_that_of_one(family: Served) -> None:
    name, url = family
    if name == "qwen3_5":
        pytest.skip("random models drift in bfloat16")

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            for about, talk in TALKS.items():
                whole = await written(engine, Context(talk), 24)
                begun = await written(engine, Context(talk), 8)
                rest = await written(engine, Context(talk, (begun,)), 16)
                assert begun + rest == whole, about

    anyio.run(work)


def test_an_image_is_sent_once_and_again_after_the_server_has_lost_it(family: Served) -> None:
    name, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            talk = Conversation.from_prompt("How many?", noise(1))

            async def sent(about: Conversation) -> tuple[str, int]:
                before = engine.sent_bytes
                return await written(engine, Context(about), 8), engine.sent_bytes - before

            text, _ = await sent(talk)  # with the requests that find out how images are sent
            named_at = "data" if name in WHOLE_IMAGES else None if SCALED in name else "uuid"
            assert engine.media_route("image") == named_at
            if name in WHOLE_IMAGES:
                return
            again, named = await sent(talk)
            assert again == text
            assert named < 3 * SIDE * SIDE / 4
            for seed in range(2, OTHERS):
                await sent(Conversation.from_prompt("How many?", noise(seed)))
            again, healed = await sent(talk)
            assert again == text
            assert healed > 3 * SIDE * SIDE > named
            assert (await sent(talk))[1] == named

    anyio.run(work)


class Recorder(httpx2.AsyncHTTPTransport):
    """The network, which keeps the bodies of streamed requests."""

    def __init__(self) -> None:
        super().__init__()
        self.streamed: list[Any] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = await request.aread()
        if content and (body := json.loads(content)).get("stream"):
            self.streamed.append(body)
        return await super().handle_async_request(request)


def strings(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


@pytest.mark.parametrize("about", ["question", "image"])
def test_a_spent_budget_closes_the_thought_and_the_target_answers(
    family: Served, about: str
) -> None:
    name, url = family
    if name != "qwen3_vl_thinking":
        pytest.skip("the model does not always think, or its prompts are sent as tokens")

    async def work() -> None:
        model, recorder = await open_model(RunOptions(draft=url).source("draft")), Recorder()
        marks = replace(model.format_of(TALKS[about]), max_tokens=THOUGHT // 2)
        assert marks.opens_thought
        assert marks.closing is not None
        config = RunConfig(
            options=ScheduleConfig(max_tokens=3 * THOUGHT),
            sampling=SamplingParams(temperature=1.0),  # a greedy random model repeats itself
            step_format=marks,
            thinking_budget=THOUGHT,
        )
        async with (
            model.engine as draft,
            await HttpEngine.open(HttpOptions(url=url), recorder) as target,
        ):
            result = await run(TALKS[about], target=target, draft=draft, config=config)
        texts = [step.step.text for step in result.steps]
        [place] = [number for number, text in enumerate(texts) if text.endswith(marks.closing)]
        tokens = [step.step.tokens for step in result.steps[:place]]
        assert sum(tokens[:-1]) < THOUGHT <= sum(tokens)
        assert {step.source for step in result.steps[place + 1 :]} == {"target"}
        notes = [event.message for event in result.events if isinstance(event, Note)]
        assert any("budget of 24 tokens is spent" in note for note in notes)
        sent = "".join(texts[: place + 1]).rstrip()
        assert any(sent in text for text in strings(recorder.streamed[-1]))

    anyio.run(work)
