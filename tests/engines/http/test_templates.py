"""Chat templates of many families: every text is continued after exactly the prompt that it had."""

from __future__ import annotations

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.errors import EngineError, Unsupported
from dreamr.runner import run
from dreamr.trace import Result, RunStarted
from support.served import Json
from support.served_calls import use
from support.templated import FAMILIES, TEXT_ONLY, Templated

LIMIT = "dreamr.engines.http.network._MOST_BYTES"
IMAGE = Image(bytes(range(192)), 8, 8)
STEPS = ("First, count the circles.\n\n", "There are four of them.\n\n")


def turn(role: str, *parts: Text | Image) -> Turn:
    return Turn(role, parts)  # type: ignore[arg-type]


TALKS = {
    "question": Conversation.from_prompt("How many?"),
    "turns": Conversation(
        (
            turn("user", Text("Hello")),
            turn("assistant", Text("Hello to you")),
            turn("user", Text("How many?")),
        )
    ),
    "padded": Conversation.from_prompt("  How many?\n"),
    "image": Conversation.from_prompt("How many?", IMAGE),
    "two images": Conversation.from_prompt("How many?", IMAGE, IMAGE),
    "image last": Conversation((turn("user", Text("How many?"), IMAGE),)),
    "image before": Conversation(
        (
            turn("user", IMAGE, Text("What is it?")),
            turn("assistant", Text("A circle")),
            turn("user", Text("How many?")),
        )
    ),
}
WITH_IMAGES = ("image", "two images", "image last", "image before")
CASES = [
    (family, talk)
    for family in FAMILIES
    for talk in TALKS
    if not (family in TEXT_ONLY and talk in WITH_IMAGES)
]


async def opening(engine: HttpEngine, served: Templated, talk: Conversation) -> str:
    """Return the prompt with which a text begins."""
    [_ async for _ in engine.stream(Context(talk), SamplingParams(max_tokens=1))]
    return served.prompts[-1]


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_step_is_continued_and_judged_after_the_prompt_that_wrote_it(
    family: str, name: str, tokens: bool
) -> None:
    served, talk = Templated(script="Four", family=family, tokens=tokens), TALKS[name]

    async def work(engine: HttpEngine) -> None:
        trims = engine.server_info.route_for(talk).trims
        first = await opening(engine, served, talk)
        context = Context(talk, STEPS)
        [_ async for _ in engine.stream(context, SamplingParams())]
        text = "".join(STEPS)
        assert served.prompts[-1] == first + (text.rstrip() if trims else text)
        await engine.judge(Context(talk, STEPS[:1]), STEPS[1:])
        assert served.prompts[-1].startswith(first + text.rstrip())
        assert len(served.prompts[-1]) > len(first + text)

    use(served, work)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_white_space_at_the_beginning_of_a_text_is_kept(family: str, name: str) -> None:
    served, talk = Templated(script="Four", family=family), TALKS[name]

    async def work(engine: HttpEngine) -> None:
        first = await opening(engine, served, talk)
        [_ async for _ in engine.stream(Context(talk, ("\n  So it is.",)), SamplingParams())]
        assert served.prompts[-1] == first + "\n  So it is."

    use(served, work)


@pytest.mark.parametrize("thinking", ["on", "off"])
@pytest.mark.parametrize("name", ["question", "image"])
@pytest.mark.parametrize("family", ["qwen3_5", "gemma4", "glm4v"])
def test_thinking_is_switched_in_every_request(family: str, name: str, thinking: str) -> None:
    served, talk = Templated(script="Four", family=family), TALKS[name]

    async def work(engine: HttpEngine) -> None:
        first = await opening(engine, served, talk)
        [_ async for _ in engine.stream(Context(talk, STEPS), SamplingParams())]
        await engine.judge(Context(talk, STEPS[:1]), STEPS[1:])
        assert all(prompt.startswith(first) for prompt in served.prompts[-2:])
        closed = first.rstrip().endswith(("</think>", "<channel|>"))
        assert closed is (thinking == "off")

    use(served, work, thinking=thinking)


def test_a_hybrid_qwen_thinks_about_texts_but_not_about_images(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = Templated(script="Four", family="qwen3_5")

    async def work(engine: HttpEngine) -> None:
        assert (await opening(engine, served, TALKS["question"])).endswith("<think>\n")
        assert engine.opens_thought(TALKS["question"])
        assert not caplog.messages
        for _ in range(2):
            first = await opening(engine, served, TALKS["image"])
            assert first.endswith("<think>\n\n</think>\n\n")
        assert not engine.opens_thought(TALKS["image"])

    use(served, work)
    [warning] = caplog.messages
    assert "does not think about images" in warning
    assert "--thinking on" in warning


@pytest.mark.parametrize(
    ("family", "thinking", "text", "images"),
    [
        ("qwen3_5", "auto", True, False),
        ("qwen3_5", "on", True, True),
        ("qwen3_5", "off", False, False),
        ("gemma4", "auto", None, None),
        ("gemma4", "on", True, True),
        ("qwen3_vl_instruct", "on", None, None),
        ("qwen3_vl_thinking", "off", True, True),
    ],
)
def test_it_is_known_whether_a_model_thinks_about_a_conversation(
    family: str, thinking: str, text: bool | None, images: bool | None
) -> None:
    async def work(engine: HttpEngine) -> None:
        known = engine.server_info.thinks_about
        assert known(TALKS["question"]) is text
        assert known(TALKS["image"]) is images

    use(Templated(script="Four", family=family), work, thinking=thinking)


def test_a_model_that_always_thinks_cannot_be_kept_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(engine: HttpEngine) -> None:
        assert engine.opens_thought(TALKS["question"])

    use(Templated(family="qwen3_vl_thinking"), work, thinking="off")
    assert "--thinking off has no effect" in caplog.text


def test_white_space_that_a_template_trims_is_not_written_twice() -> None:
    served = Templated(said=lambda body: "\n\nFour", family="gemma3")

    async def work(engine: HttpEngine) -> str:
        assert engine.server_info.route_for(TALKS["image"]).trims
        stream = engine.stream(Context(TALKS["image"], STEPS), SamplingParams())
        return "".join([chunk.text async for chunk in stream])

    assert use(served, work) == "Four"


def test_a_text_only_model_says_so() -> None:
    served = Templated(family="qwen3", script="Four")

    async def work(engine: HttpEngine) -> None:
        with pytest.raises(Unsupported, match="qwen3 accepts text only: remove the images"):
            await opening(engine, served, TALKS["image"])

    use(served, work)


def test_images_are_sent_again_to_a_server_that_lost_them() -> None:
    served = Templated(script="Four", family="qwen3_vl_thinking", tokens=True)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.route.name == "tokens"
        await opening(engine, served, TALKS["image"])
        served.lost = 1
        await engine.judge(Context(TALKS["image"]), STEPS)
        stream = engine.stream(Context(TALKS["image"], STEPS), SamplingParams())
        assert "".join([chunk.text async for chunk in stream]) == "Four"

    use(served, work)
    sent = [
        "kwargs_data" in body["features"]
        for path, body in served.requests
        if path.endswith("generate") and body.get("features")
    ]
    assert sent[0]
    assert not all(sent)
    assert not sent[-1]


def test_the_response_that_renders_images_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    class Large(Templated):
        def _rendered(self, body: Json) -> Json:
            found = super()._rendered(body)
            if found["features"]:
                found["features"]["kwargs_data"]["image"] = ["x" * 20_000]
            return found

    served = Large(script="Four", family="qwen3_vl_thinking", tokens=True)

    async def work(engine: HttpEngine) -> None:
        monkeypatch.setattr(LIMIT, 10_000)
        stream = engine.stream(Context(TALKS["image"], STEPS), SamplingParams())
        assert "".join([chunk.text async for chunk in stream]) == "Four"

    use(served, work)


def test_a_template_that_no_route_continues_is_refused() -> None:
    class Odd(Templated):
        def _prompt(self, body: dict) -> str:  # type: ignore[type-arg]
            text = super()._prompt(body)
            return "twice: " + text + text if "prompt" not in body else text

    async def work(engine: HttpEngine) -> None: ...

    with pytest.raises(EngineError, match="does not continue the assistant's text unchanged"):
        use(Odd(family="qwen3_vl_thinking"), work)


def test_the_trace_names_the_route_of_each_model() -> None:
    script = "Four.\n\nAnswer: 4"
    small = Templated(script=script, family="qwen3_vl_instruct")
    large = Templated(script=script, family="qwen3_vl_thinking")

    async def work() -> Result:
        options = HttpOptions(url="http://here")
        async with (
            await HttpEngine.open(options, small.transport) as draft,
            await HttpEngine.open(options, large.transport) as target,
        ):
            return await run(TALKS["image"], target=target, draft=draft)

    started = anyio.run(work).events[0]
    assert isinstance(started, RunStarted)
    assert started.options["draft_route"] == "chat"
    assert started.options["target_route"] == "carried"
