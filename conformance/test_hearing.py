"""Sound on real servers: vLLM with small random models that hear, and servers that do not."""

from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Audio, Conversation, Image, Part, Text
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.client import Client
from dreamr.engines.http.rendering import RenderedPrompts
from support.real_served import Served, asked, continue_and_judge, written
from support.sounds import sound

pytestmark = pytest.mark.server
TOKENS = 25  # of a second
SIDE = 64
IMAGE = Image(bytes([90]) * SIDE * SIDE * 3, SIDE, SIDE)
STEPS = ("First, count the beeps.\n\n", "There are four of them.\n\n")
# Families, the route of a conversation with sound, and what stands for a sound and an image.
HEARING = {
    "qwen2_audio": ("chat", "<|AUDIO|>", None),
    "gemma4_audio": ("carried", "<|audio|>", "<|image|>"),
}
CRASHES = pytest.mark.skip(reason="vLLM 0.32 for CPUs crashes on a sound for Gemma 4")
families = pytest.mark.parametrize(
    "family",
    ["qwen2_audio", pytest.param("gemma4_audio", marks=CRASHES)],
    indirect=True,
    scope="module",
)


def tone(seconds: float, pitch: float = 300.0) -> Audio:
    return sound("tone.wav", seconds, pitch)


@families
def test_a_model_that_hears_is_found_by_trying_it(family: Served) -> None:
    name, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            assert engine.capabilities.hears is None
            talk = asked(tone(1))
            await engine.prepare(talk)
            assert engine.capabilities.hears is True, engine.capabilities.hearing_problem
            assert engine.route_name(talk) == HEARING[name][0]

    anyio.run(work)


@families
def test_the_prompt_grows_with_the_seconds_of_a_sound(family: Served) -> None:
    _, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            one, three = [await engine.count(asked(tone(seconds))) for seconds in (1, 3)]
            assert three - one == pytest.approx(2 * TOKENS, abs=1)
            other = await engine.count(asked(tone(1), tone(1, pitch=500)))
            assert other - one >= TOKENS

    anyio.run(work)


@families
def test_text_sounds_and_images_arrive_in_their_order(family: Served) -> None:
    name, url = family
    _, heard, seen = HEARING[name]
    parts: list[Part] = [Text("First a sound: "), tone(1), Text("then "), tone(1, pitch=500)]
    wanted = ["First a sound:", heard, "then", heard]
    if seen:
        parts += [Text("then an image: "), IMAGE]
        wanted += ["then an image:", seen]

    async def work() -> None:
        options = HttpOptions(url=url)
        async with await HttpEngine.open(options) as engine:
            talk = asked(*parts)
            await engine.prepare(talk)
            client = Client(options)
            prompts = RenderedPrompts(client, options, engine.server_info.model, "tokenize")
            route = engine.server_info.route_for(talk)
            for body in (await route.opened(talk), await route.continued(talk, STEPS[0])):
                text = await prompts.text({"add_generation_prompt": True, **body})
                places, start = [], 0
                for word in (*wanted, "How many?"):
                    places.append(text.find(word, start))
                    start = places[-1] + len(word)
                    while word == heard and text.startswith(heard, start):
                        start += len(heard)
                assert -1 not in places, text
            await client.aclose()

    anyio.run(work)


@families
def test_a_text_is_continued_and_judged_after_a_sound(family: Served) -> None:
    _, url = family
    talks = [asked(tone(1)), asked(tone(1), tone(2, pitch=500))]
    anyio.run(continue_and_judge, url, talks, STEPS)


@families
def test_a_sound_of_some_length_is_sent_once(family: Served) -> None:
    _, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            long = tone(4, pitch=410)
            first = await written(engine, Context(asked(long)), 12)
            assert engine.media_route("sound") == "uuid"
            before = engine.sent_bytes
            assert await written(engine, Context(asked(long)), 12) == first
            [evidence] = await engine.judge(Context(asked(long)), STEPS[1:])
            assert 0 <= evidence.ratio <= 1
            assert engine.sent_bytes - before < len(long.data) / 10

    anyio.run(work)


@families
def test_the_text_depends_on_the_sound(family: Served) -> None:
    _, url = family

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            sounds = [tone(2, pitch) for pitch in (150, 300, 600, 1200, 2400)]
            texts = [await written(engine, Context(asked(one)), 12) for one in sounds]
            assert len(set(texts)) > 1

    anyio.run(work)


@pytest.mark.parametrize("server", ["target_url", "llama_url", "llama_pair_url"])
def test_a_server_of_a_model_that_does_not_hear_says_so(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)

    async def work() -> None:
        async with await HttpEngine.open(HttpOptions(url=url)) as engine:
            await engine.prepare(asked(tone(1)))
            assert engine.capabilities.hears is False
            assert engine.capabilities.hearing_problem
            await engine.count(Conversation.from_prompt("How many?"))  # it still works

    anyio.run(work)
