"""Images on their way to servers: how often, how large, and what happens if they get lost."""

from __future__ import annotations

import io
import threading
from base64 import b64decode
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import anyio
import httpx2
import PIL.Image
import pytest

from dreamr import Reasoner, RunOptions
from dreamr.conversation import Conversation, fitting_size, read_image
from dreamr.engines import Context
from dreamr.engines.http import HttpEngine, media_files
from dreamr.engines.http.media_memory import MOST_MISSES
from dreamr.engines.http.media_parts import MediaReference
from dreamr.errors import ContextTooLong, EngineError, EngineLost
from support.image_served import ImageServed
from support.served import Json
from support.served_calls import use, written
from support.sockets import on_socket

STEPS = [f"In line {number} the price is {number}.50, so the sum grows.\n\n" for number in range(5)]
SCRIPT = "".join(STEPS) + "Answer: 12.50"
QUESTION = "What do the tea and the milk on this receipt cost together, with the discount?"


def photo(width: int = 4032, height: int = 3024) -> bytes:
    noise = PIL.Image.effect_noise((width // 16, height // 16), 60).resize((width, height))
    file = io.BytesIO()
    noise.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()


SMALL = read_image(photo(640, 480))
TALK = Conversation.from_prompt(QUESTION, SMALL)


async def judge(engine: HttpEngine, talk: Conversation = TALK, steps: int = 1) -> None:
    await engine.judge(Context(talk), STEPS[:steps])


def test_a_run_sends_a_photograph_once_to_each_server() -> None:
    data = photo()
    target, draft = ImageServed(script=SCRIPT), ImageServed(script=SCRIPT)
    with ExitStack() as stack:
        urls = [stack.enter_context(on_socket(served)) for served in (target, draft)]

        async def main() -> None:
            options = RunOptions(target=urls[0], draft=urls[1])
            async with Reasoner(options) as reasoner:
                await reasoner.reason(QUESTION, data)
                await reasoner.reason(QUESTION, data)

        anyio.run(main)
    assert len(target.asked) + len(draft.asked) >= 12
    assert target.data == draft.data
    [sent] = target.data
    with PIL.Image.open(io.BytesIO(_decoded(sent))) as opened:
        assert opened.size == fitting_size(4032, 3024, 2**20)
    for served in (target, draft):
        assert sum(served.sizes) <= 1.2 * len(sent)


def test_a_server_that_restarted_before_its_first_image_is_probed_again() -> None:
    served = ImageServed(script=SCRIPT, context=1024, models=("Qwen3.5-4B",))

    async def work(engine: HttpEngine) -> None:
        served.context = 512
        with anyio.fail_after(20):
            for _ in range(2):
                assert await written(engine, TALK) == SCRIPT
        assert engine.server_info.context == 512
        assert engine.media_route("image") == "uuid"

    use(served, work)


def test_the_judge_requests_of_a_run_are_as_small_as_without_an_image() -> None:
    def size(talk: Conversation) -> int:
        served = ImageServed(script=SCRIPT)

        async def work(engine: HttpEngine) -> None:
            await written(engine, talk)
            for place, step in enumerate(STEPS):
                await engine.judge(Context(talk, tuple(STEPS[:place])), [step])

        use(served, work)
        return sum(served.sizes[-len(STEPS) :])

    assert size(TALK) <= 1.15 * size(Conversation.from_prompt(QUESTION))


def test_requests_that_begin_together_wait_for_the_one_that_carries_the_image() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await judge(engine, steps=5)

    use(served, work)
    assert len(served.asked) == 5
    assert len(served.data) == 1


def test_a_canceled_request_leaves_the_image_to_the_next() -> None:
    served = ImageServed(script=SCRIPT)
    waits = anyio.Event()

    async def work(engine: HttpEngine) -> None:
        client = engine._client

        async def second() -> None:
            await judge(engine)
            waits.set()

        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            outgoing = client.media.outgoing({"image": MediaReference(SMALL)})
            first = await stack.enter_async_context(outgoing)
            assert first.claim is not None
            assert first.claim.carried
            tasks.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            assert not waits.is_set()
            await stack.aclose()  # without an answer
        assert waits.is_set()

    use(served, work)
    assert len(served.data) == 1


@pytest.mark.parametrize("as_error", [False, True])
def test_an_image_that_the_server_has_lost_is_sent_again(as_error: bool) -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert await written(engine, TALK) == SCRIPT
        served.as_error = as_error
        served.lose()
        assert await written(engine, TALK, STEPS[0]) == SCRIPT.removeprefix(STEPS[0])
        await judge(engine)
        served.lose()
        await judge(engine)

    use(served, work)
    assert len(served.data) == 3


def test_an_image_that_gets_lost_again_and_again_is_sent_with_every_request() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        for _ in range(10):
            await judge(engine)
            served.lose()

    use(served, work)
    assert len(served.data) == 10
    assert served.omitted == 3


@pytest.mark.parametrize("replicas", [2, 3])
def test_replicas_that_take_turns_miss_an_image_a_few_times_only(replicas: int) -> None:
    served = ImageServed(script=SCRIPT, replicas=replicas)
    missed = 0

    async def work(engine: HttpEngine) -> None:
        nonlocal missed
        # The check meets one copy only, as with a router that keeps a session at one.
        served.replicas = 1
        await judge(engine)
        served.replicas = replicas
        for _ in range(20):
            await judge(engine)
        missed = len(served.asked) - 21

    use(served, work)
    assert missed <= MOST_MISSES


def test_a_request_that_is_refused_for_another_reason_is_sent_twice_at_most() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await judge(engine)
        served.refusal = lambda body: (400, "top_logprobs must be at most 5")
        before = len(served.asked)
        with pytest.raises(EngineError, match="top_logprobs must be at most 5"):
            await judge(engine)
        assert len(served.asked) == before + 2
        served.refusal = lambda body: None
        await judge(engine)

    use(served, work)
    assert served.asked[-1]["messages"][0]["content"][0]["image_url"] is None


def test_a_server_that_fails_gets_the_image_with_the_next_attempt() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await judge(engine)
        served.failures = [500]
        await judge(engine)

    use(served, work)
    assert len(served.data) == 2


@pytest.mark.parametrize(
    "served",
    [
        ImageServed(script=SCRIPT, ids="refused"),
        ImageServed(script=SCRIPT, ids="ignored"),
        ImageServed(script=SCRIPT, replicas=2),
        ImageServed(script=SCRIPT, owner="somebody"),
        ImageServed(script=SCRIPT, owner="sglang"),
        ImageServed(script=SCRIPT, owner="llamacpp"),
    ],
    ids=["refused", "ignored", "replicas", "another server", "SGLang", "llama.cpp"],
)
def test_images_are_omitted_only_if_the_server_is_seen_to_find_them(served: ImageServed) -> None:
    async def work(engine: HttpEngine) -> None:
        assert engine.media_route("image") is None
        for _ in range(3):
            await judge(engine)
        assert engine.media_route("image") == (
            "content_hash" if served.owner == "sglang" else "data"
        )

    use(served, work)
    assert len(served.data) == 3
    assert len({*served.data}) == 1
    assert served.omitted == 0
    parts = [body["messages"][0]["content"][0] for body in served.asked]
    assert all("uuid" not in part for part in parts)
    hashes = {part["image_url"].get("content_hash") for part in parts}
    assert hashes == ({SMALL.digest} if served.owner == "sglang" else {None})


def test_images_are_not_omitted_if_the_server_counts_no_tokens() -> None:
    class Uncounted(ImageServed):
        def _answer(self, body: Json) -> httpx2.Response:
            answer = super()._answer(body)
            values = {name: one for name, one in answer.json().items() if name != "usage"}
            return httpx2.Response(answer.status_code, json=values)

    served = Uncounted(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await judge(engine)
        await judge(engine)
        assert engine.media_route("image") == "data"

    use(served, work)
    assert served.omitted == 0


def test_a_server_that_is_lost_during_the_check_is_an_error() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        served.failures = [401]
        with pytest.raises(EngineLost):
            await judge(engine)
        await judge(engine)
        assert engine.media_route("image") == "uuid"

    use(served, work)


def test_another_kind_of_server_at_the_address_is_checked_again() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        await judge(engine)
        assert engine.media_route("image") == "uuid"
        served.owner, served.failures = "llamacpp", [httpx2.ReadError("gone")]
        await judge(engine)
        assert engine.media_route("image") == "data"

    use(served, work)


def test_text_alone_needs_no_check() -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        before = len(served.chats)
        await judge(engine, Conversation.from_prompt(QUESTION))
        assert len(served.chats) == before + 1

    use(served, work)


@pytest.mark.parametrize(("limit", "pixels"), [(0, 640 * 480), (1000, 36 * 27), (2**20, 640 * 480)])
def test_images_have_at_most_as_many_pixels_as_the_user_allows(limit: int, pixels: int) -> None:
    served = ImageServed(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        assert engine.capabilities.image_pixels == (limit or None)
        await judge(engine)

    use(served, work, max_pixels=limit)
    with PIL.Image.open(io.BytesIO(_decoded(served.data[0]))) as opened:
        assert opened.width * opened.height == pixels
    if limit != 1000:
        assert _decoded(served.data[0]) == SMALL.data  # the client's own bytes


def test_a_prompt_that_an_image_makes_too_long_says_so() -> None:
    long = "This model's maximum context length is 1024 tokens, but you requested 1300."
    served = ImageServed(script=SCRIPT, refusal=lambda body: (400, long))

    async def work(engine: HttpEngine) -> str:
        with pytest.raises(ContextTooLong) as caught:
            await judge(engine)
        return str(caught.value)

    message = use(served, work)
    assert long in message
    assert "the image is most of it (307,200 pixels): lower --max-pixels" in message
    two = Conversation.from_prompt(QUESTION, SMALL, read_image(photo(320, 240)))
    served = ImageServed(script=SCRIPT, refusal=lambda body: (413, "entity too large"))

    async def with_two(engine: HttpEngine) -> None:
        with pytest.raises(ContextTooLong, match="2 images are most of it"):
            await written(engine, two)

    use(served, with_two)


def test_a_prompt_that_text_makes_too_long_does_not_blame_the_image() -> None:
    served = ImageServed(script=SCRIPT, refusal=lambda body: (400, "prompt is too long"))
    talk = Conversation.from_prompt("word " * 2000, SMALL)

    async def work(engine: HttpEngine) -> str:
        with pytest.raises(ContextTooLong) as caught:
            await judge(engine, talk)
        return str(caught.value)

    assert "image" not in use(served, work)


def test_encoding_happens_once_and_never_on_the_thread_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    calls: Counter[str] = Counter()

    def watch(place: Any, name: str) -> None:
        work = getattr(place, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            threads.append(threading.get_ident())
            calls[name] += 1
            return work(*arguments, **named)

        monkeypatch.setattr(place, name, watched)

    image = read_image(photo(2000, 1500))
    watch(PIL.Image.Image, "save")
    watch(PIL.Image.Image, "resize")
    watch(media_files, "b64encode")
    talk = Conversation.from_prompt(QUESTION, image)
    served = ImageServed(script=SCRIPT, owner="llamacpp")  # which gets the data with each request

    async def work(engine: HttpEngine) -> None:
        threads.clear()
        calls.clear()
        for _ in range(3):
            await judge(engine, talk, steps=3)
        assert len(threads) == 3
        assert threading.get_ident() not in threads

    use(served, work)
    assert calls == {"save": 1, "resize": 1, "b64encode": 1}
    assert len(served.data) == 9


def _decoded(uri: str) -> bytes:
    return b64decode(uri.partition(",")[2])
