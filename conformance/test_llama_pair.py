"""The embedded pair served by llama.cpp, with images, behaves as in the local engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio
import pytest
from dreamr_testbed.suites import SUITES

from dreamr import RunOptions
from dreamr.conversation import Conversation, Text, Turn
from dreamr.engines import Context, Engine, SamplingParams, open_model
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.servers import LLAMA_CPP
from dreamr.errors import EngineLost
from dreamr.evaluation.tasks import Item, load
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig

pytestmark = pytest.mark.server
SEED = 70_000
DIFFERENCE = 1e-2  # largest between probabilities: llama.cpp approximates the tower's GELU
THINKING = "llama_thinking_url"


@pytest.fixture(params=["llama_pair_url", THINKING])
def url(request: pytest.FixtureRequest) -> str:
    """Address of a server: with the pair's own template, and with one of a thinking model."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def thinks(request: pytest.FixtureRequest) -> bool:
    return bool(request.node.callspec.params["url"] == THINKING)


async def opened(url: str) -> HttpEngine:
    return await HttpEngine.open(HttpOptions(url=url, judge_prompt="Judge"))


async def written(engine: Engine, talk: Conversation, *prefix: str, most: int = 400) -> str:
    stream = engine.stream(Context(talk, prefix), SamplingParams(max_tokens=most))
    return "".join([chunk.text async for chunk in stream])


def problems(count: int) -> list[Item]:
    return [item for task in SUITES for item in load(task, limit=count, seed=SEED)]


def steps_of(text: str) -> list[str]:
    return [f"{step}\n\n" for step in text.split("\n\n")[:-1]]


def test_texts_and_verdicts_are_those_of_the_local_engine(llama_pair_url: str) -> None:
    async def work() -> None:
        local = (await open_model(RunOptions(dtype="float32").source("target"))).engine
        async with await opened(llama_pair_url) as engine:
            assert engine.server_info.server is LLAMA_CPP
            assert engine.server_info.exact
            for item in problems(4):
                own = await written(local, item.conversation)
                assert await written(engine, item.conversation) == own, item.id
                pairs = zip(
                    await engine.judge(Context(item.conversation), steps_of(own)),
                    await local.judge(Context(item.conversation), steps_of(own)),
                    strict=True,
                )
                for theirs, ours in pairs:
                    assert abs(theirs.positive - ours.positive) < DIFFERENCE, item.id
                    assert abs(theirs.negative - ours.negative) < DIFFERENCE, item.id
        await local.aclose()

    anyio.run(work)


def test_a_prefix_is_continued_where_it_ends(url: str, thinks: bool) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            assert engine.server_info.exact is not thinks
            assert engine.server_info.route.name == ("completion" if thinks else "chat")
            assert engine.server_info.opens_thought is thinks
            for item in problems(2):
                text = await written(engine, item.conversation, most=60)
                for number in range(len(steps_of(text)) + 1):
                    done = steps_of(text)[:number]
                    rest = await written(engine, item.conversation, *done, most=60)
                    assert ("".join(done) + rest).startswith(text), (item.id, done)

    anyio.run(work)


def test_another_image_leads_to_another_answer(url: str) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            one, two = load("vqa", limit=2, seed=SEED)
            [question] = [
                part for part in one.conversation.turns[0].parts if isinstance(part, Text)
            ]
            texts = {
                await written(engine, talk)
                for talk in (
                    Conversation.from_prompt(question.text, *one.conversation.images),
                    Conversation.from_prompt(question.text, *two.conversation.images),
                    Conversation.from_prompt(question.text),
                )
            }
            assert len(texts) == 3

    anyio.run(work)


def test_a_wrong_step_is_refused_and_its_prefix_cached(url: str, thinks: bool) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            [item] = load("docmath", limit=1, seed=SEED)
            steps = steps_of(await written(engine, item.conversation))
            before = engine.cached_tokens
            right = await engine.judge(Context(item.conversation), steps)
            wrong = [step.translate(str.maketrans("123456789", "234567891")) for step in steps]
            found = await engine.judge(Context(item.conversation), wrong)
            assert engine.cached_tokens > before
            if not thinks:  # the pair was not trained to judge inside a thought
                assert min(evidence.ratio for evidence in right) > 0.7
                assert min(evidence.ratio for evidence in found) < 0.3

    anyio.run(work)


def test_several_turns_with_images_are_continued(url: str) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            [item] = load("vqa", limit=1, seed=SEED)
            [asked] = item.conversation.turns
            earlier = Turn("assistant", (Text("It is so."),))
            talk = Conversation((asked, earlier, asked))
            text = await written(engine, talk, most=20)
            half = text[: text.index(" ", len(text) // 2)]  # tokens begin with spaces
            rest = await written(engine, talk, half, most=20)
            assert text
            assert (half + rest).startswith(text)
            [evidence] = await engine.judge(Context(talk), ["It is so.\n\n"])
            assert 0 <= evidence.mass <= 1
            assert await engine.count(talk) > await engine.count(item.conversation) + 36

    anyio.run(work)


def test_a_closed_stream_ends_at_the_server(url: str) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            [item] = load("vqa", limit=1, seed=SEED)
            sampling = SamplingParams(max_tokens=400, temperature=2.0)
            stream = engine.stream(Context(item.conversation), sampling)
            await anext(stream)
            assert await engine.running() == 1
            await stream.aclose()
            with anyio.fail_after(5):
                while await engine.running():
                    await anyio.sleep(0.02)

    anyio.run(work)


def test_a_stream_carries_log_probabilities(url: str) -> None:
    async def work() -> None:
        async with await opened(url) as engine:
            [item] = load("vqa", limit=1, seed=SEED)
            sampling = SamplingParams(max_tokens=20, logprobs=True)
            stream = engine.stream(Context(item.conversation), sampling)
            found = [chunk.logprob async for chunk in stream if chunk.tokens]
            assert len(found) >= 10
            assert all(logprob is not None and logprob <= 0 for logprob in found)

    anyio.run(work)


def test_runs_give_the_answers_of_the_target(llama_pair_url: str) -> None:
    async def work() -> None:
        async with await opened(llama_pair_url) as engine:
            settings = RunConfig(options=ScheduleConfig(deterministic=True))
            for item in problems(1):
                result = await run(item.conversation, target=engine, draft=engine, config=settings)
                text = await written(engine, item.conversation)
                assert result.answer == text.rpartition("Answer:")[2].strip()
                assert any(step.source == "draft" for step in result.steps)

    anyio.run(work)


def test_speculative_decoding_is_seen_and_its_tokens_have_no_log_probabilities(
    llama_speculating_url: str, llama_pair_url: str
) -> None:
    async def work() -> None:
        async with await opened(llama_pair_url) as plain:
            assert plain.server_info.speculates is False
            assert plain.capabilities.logprobs
        async with await opened(llama_speculating_url) as engine:
            assert engine.server_info.speculates
            assert not engine.capabilities.logprobs
            assert engine.capabilities.judge  # the first token is never guessed
            [item] = load("vqa", limit=1, seed=SEED)
            sampling = SamplingParams(max_tokens=20, logprobs=True)
            stream = engine.stream(Context(item.conversation), sampling)
            found = [chunk.logprob async for chunk in stream if chunk.tokens]
            assert 0.0 not in found
            assert None in found

    anyio.run(work)


def test_a_server_that_restarted_is_probed_again(
    restarting: Callable[..., AbstractContextManager[str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        [item] = load("vqa", limit=1, seed=SEED)
        with restarting() as url:
            engine = await opened(url)
            text = await written(engine, item.conversation, most=20)
        async with engine:
            with pytest.raises(EngineLost, match="connection refused"):
                await written(engine, item.conversation)
            with restarting("--ctx-size", "2048"):  # with another marker for images
                assert await written(engine, item.conversation, most=20) == text
            with restarting("--ctx-size", "2048"):
                await engine.judge(Context(item.conversation), ["It is so.\n\n"])
            assert engine.server_info.context == 512

    anyio.run(work)
    assert "now has a context of 512 tokens instead of 1024" in caplog.text
