"""The engine on a server that behaves like SGLang, over a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import Unsupported
from dreamr.gate import Labels
from support.served_calls import written
from support.sglang import Sglang
from support.sockets import on_socket

SCRIPT = "Two and two.\n\nThat makes four.\n\n</think>\n\nAnswer: 4"
IMAGE = Image(bytes(3 * 8 * 8), 8, 8)
TALK = Conversation.from_prompt("What is it?", IMAGE)
TURNS = Conversation((*TALK.turns, Turn("assistant", (Text("It is 3."),)), *TALK.turns))
Found = TypeVar("Found")


def use(server: Sglang, work: Callable[[HttpEngine], Awaitable[Found]], **options: object) -> Found:
    async def main(url: str) -> Found:
        given = HttpOptions(url=url, **options)  # type: ignore[arg-type]
        async with await HttpEngine.open(given) as engine:
            return await work(engine)

    with on_socket(server) as url:
        return anyio.run(main, url)


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(("template", "route"), [("appends", "chat"), ("closes", "generate")])
def test_a_thought_about_an_image_is_continued(template: str, route: str, begins: bool) -> None:
    server = Sglang(SCRIPT, template=template, begins=begins)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.opens_thought
        assert engine.server_info.route.name == route
        for talk in (TALK, TURNS, Conversation.from_prompt("What is it?")):
            assert await written(engine, talk, logprobs=True) == SCRIPT
            after = await written(engine, talk, "Two and two.\n\n", logprobs=True)
            assert after == SCRIPT[14:]

    use(server, work)
    last = server.chats[-1]
    assert "input_ids" not in last
    assert last["rid"]


@pytest.mark.parametrize("incremental", [False, True])
def test_each_event_of_generate_adds_what_is_new(incremental: bool) -> None:
    server = Sglang(SCRIPT, template="closes", incremental=incremental)

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams(max_tokens=6, logprobs=True))
        chunks = [chunk async for chunk in stream]
        texts = [chunk.text for chunk in chunks if chunk.tokens]
        assert texts == ["Two", " and", " two.", "\n\nThat", " makes", " four."]
        assert {chunk.logprob for chunk in chunks if chunk.tokens} == {-0.5}
        assert chunks[-1].finish == "length"

    use(server, work)


@pytest.mark.parametrize("template", ["appends", "closes"])
def test_a_step_about_an_image_is_judged_inside_the_thought(template: str) -> None:
    server = Sglang(SCRIPT, template=template)

    async def work(engine: HttpEngine) -> None:
        assert engine.capabilities.judge
        [found] = await engine.judge(Context(TALK), ["Two and two.\n\n"])
        assert (round(found.positive, 6), round(found.negative, 6)) == (0.9, 0.1)

    use(server, work)


def test_labels_below_the_most_likely_tokens_are_asked_for() -> None:
    labels = {f"word{place}": 0.05 for place in range(10)} | {"positive": 0.04, "negative": 0.01}
    server = Sglang(SCRIPT, labels, template="closes", tops=10)

    async def work(engine: HttpEngine) -> None:
        [found] = await engine.judge(Context(TALK), ["Two and two.\n\n"])
        assert (round(found.positive, 6), round(found.negative, 6)) == (0.04, 0.01)

    use(server, work, labels=Labels(("positive",), ("negative",)))


@pytest.mark.parametrize("template", ["appends", "closes"])
def test_a_stream_that_is_closed_is_aborted(template: str) -> None:
    server = Sglang(SCRIPT, template=template, waits=2)

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        await anext(stream)
        assert len(server.running) == 1
        await stream.aclose()
        assert not server.running
        path, _ = server.requests[-1]
        assert path == "/abort_request"  # its empty answer is no sign of another server

    use(server, work)


@pytest.mark.parametrize("template", ["appends", "closes"])
def test_an_image_for_a_model_that_does_not_see_is_refused(template: str) -> None:
    server = Sglang(SCRIPT, template=template, sees=False)

    async def work(engine: HttpEngine) -> None:
        assert await written(engine, Conversation.from_prompt("What is it?")) == SCRIPT
        with pytest.raises(Unsupported, match="accepts text only"):
            await written(engine, TALK)

    use(server, work)


def test_a_conversation_is_rendered_once_and_without_its_images() -> None:
    server = Sglang(SCRIPT, template="closes")
    noise = Image(Random(1).randbytes(3 * 64 * 64), 64, 64)
    talk = Conversation.from_prompt("What is it?", noise)

    async def work(engine: HttpEngine) -> None:
        await written(engine, talk)
        rendered = [body for path, body in server.requests if path == "/tokenize"]
        await written(engine, talk, "Two and two.\n\n")
        again = [body for path, body in server.requests if path == "/tokenize"]
        assert len(again) == len(rendered)
        assert max(len(str(body)) for body in rendered) < 1000
        assert len(server.chats[-1]["image_data"][0]) > 10_000

    use(server, work)
