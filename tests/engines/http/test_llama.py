"""The engine on a server that behaves like llama.cpp's, with a template that closes thoughts."""

from __future__ import annotations

import httpx2
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.errors import Unsupported
from support.llama import Llama
from support.served_calls import use, written

SCRIPT = "Two and two.\n\nThat makes four.\n\n</think>\n\nAnswer: 4"
IMAGE = Image(bytes(3 * 8 * 8), 8, 8)
TALK = Conversation.from_prompt("What is it?", IMAGE)
TURNS = Conversation((*TALK.turns, Turn("assistant", (Text("It is 3."),)), *TALK.turns))


def test_a_thought_about_images_is_continued_by_its_own_endpoint() -> None:
    server = Llama(SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.route.name == "completion"
        assert engine.server_info.opens_thought
        for talk in (TALK, TURNS, Conversation.from_prompt("What is it?")):
            assert await written(engine, talk) == SCRIPT
            after = await written(engine, talk, "Two and two.\n\n", max_tokens=3, seed=3)
            assert after == "That makes four.\n\n"
        assert await engine.count(TURNS) > await engine.count(TALK) + 4

    use(server, work)
    sent = [body for body in server.completions if body.get("stream")][-1]
    assert (sent["n_predict"], sent["seed"], sent["temperature"]) == (3, 3, 0.0)
    assert "max_tokens" not in sent


def test_an_endpoint_that_fails_leaves_the_next_route() -> None:
    class Router(Llama):
        async def handle(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/props":
                return httpx2.Response(501, json={"error": {"message": "not in router mode"}})
            if request.url.path == "/v1/completions":
                choice = {"text": "x", "finish_reason": "length"}
                return httpx2.Response(200, json={"choices": [choice]})
            return await super().handle(request)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.route.name == "text"

    use(Router(SCRIPT), work)


def test_a_step_is_judged_inside_the_thought() -> None:
    async def work(engine: HttpEngine) -> None:
        [found] = await engine.judge(Context(TALK), ["Two and two.\n\n"])
        assert (round(found.positive, 6), round(found.negative, 6)) == (0.9, 0.1)

    use(Llama(SCRIPT), work)


@pytest.mark.parametrize("speculates", [False, True])
def test_guessed_tokens_have_no_log_probabilities(speculates: bool) -> None:
    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.speculates is speculates
        assert engine.capabilities.logprobs is not speculates
        stream = engine.stream(Context(TALK), SamplingParams(3, logprobs=True))
        found = [chunk.logprob async for chunk in stream if chunk.tokens]
        assert found == ([-0.5, None, None] if speculates else [-0.5] * 3)

    use(Llama(SCRIPT, speculates=speculates), work)


def test_a_restarted_server_gets_its_new_marker() -> None:
    server = Llama(SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert await written(engine, TALK) == SCRIPT
        server.marker = "<__media_2__>"
        server.failures.append(httpx2.ReadError("gone"))
        assert await written(engine, TALK, "Two and two.\n\n") == SCRIPT[14:]
        server.marker = "<__media_3__>"
        server.failures.append(httpx2.ConnectError("gone"))
        [found] = await engine.judge(Context(TALK), ["Two and two.\n\n"])
        assert found.positive > 0.8
        for number in (4, 5):  # while no request was sent: the new connection shows nothing
            server.marker = f"<__media_{number}__>"
            if number == 4:
                assert await written(engine, TALK, "Two and two.\n\n") == SCRIPT[14:]
            else:
                await engine.judge(Context(TALK), ["Two and two.\n\n"] * 3)

    use(server, work)


def test_images_for_a_model_that_does_not_see_are_refused() -> None:
    async def work(engine: HttpEngine) -> None:
        assert await written(engine, Conversation.from_prompt("What is it?")) == SCRIPT
        with pytest.raises(Unsupported, match="accepts text only"):
            await written(engine, TALK)

    use(Llama(SCRIPT, sees=False), work)


def test_a_text_with_the_marker_is_not_taken_for_an_image() -> None:
    async def work(engine: HttpEngine) -> None:
        talk = Conversation.from_prompt("What is <__media_1__>?", IMAGE)
        with pytest.raises(Unsupported, match="has 1 images and its rendered prompt 2"):
            await written(engine, talk)

    use(Llama(SCRIPT), work)
