"""Thoughts over HTTP: templates that open or close them, and servers that parse them."""

from __future__ import annotations

import PIL.Image
import pytest

from dreamr.conversation import Conversation, read_image
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.errors import EngineError, Unsupported
from support.served import PLAIN, THINKING, Served
from support.served_calls import SCRIPT, TALK, read, text, use


def test_a_template_that_closes_think_blocks_is_bypassed_for_text() -> None:
    served = Served(script=SCRIPT, template=THINKING)
    assert text(read(served, "Two and two.\n\n")) == "That makes four.\n\nAnswer: 4"
    assert served.chats[-1]["prompt"].endswith("<think> Two and two.\n\n")
    image = read_image(PIL.Image.effect_noise((64, 48), 80).convert("RGB"))

    async def work(engine: HttpEngine) -> None:
        assert not engine.server_info.exact
        talk = Conversation.from_prompt("What?", image)
        [_ async for _ in engine.stream(Context(talk), SamplingParams())]

    with pytest.raises(Unsupported, match="chat template"):
        use(served, work)


def test_a_template_that_cannot_be_bypassed_is_refused() -> None:
    with pytest.raises(EngineError, match="chat template of tiny does not continue"):
        read(Served(script=SCRIPT, template=THINKING, shows=False))


@pytest.mark.parametrize("field_name", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_separate_field_gets_its_tags_back(field_name: str) -> None:
    served = Served(parsed=True, field_name=field_name, said=lambda body: "So it is. </think> Four")
    chunks = read(served)
    assert text(chunks) == "<think>\nSo it is. \n</think>\n\nFour"


def test_a_thought_that_ends_at_the_prefix_gets_its_closing_tag() -> None:
    """A server that parses reasoning removes the tag, which comes first here."""
    replies = iter(["So it is.\n\n </think> Four", "Four"])
    served = Served(parsed=True, said=lambda body: next(replies))

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        assert "".join([chunk.text async for chunk in stream]).startswith("<think>\nSo it is.")
        context = Context(TALK, ("<think>\nSo it is.\n\n",))
        stream = engine.stream(context, SamplingParams())
        assert "".join([chunk.text async for chunk in stream]) == "\n</think>\n\nFour"

    use(served, work)


@pytest.mark.parametrize("prefix", ["<think>\nSo.\n</think>\n\n", "One and one.\n\n"])
def test_an_answer_that_the_server_takes_for_reasoning_gets_no_tag(prefix: str) -> None:
    """Some servers do not see that the prefix ends outside a thought."""
    served = Served(parsed=True, said=lambda body: "Four. </think>")
    assert text(read(served, prefix)) == "Four. "


@pytest.mark.parametrize(("template", "opens"), [(THINKING, True), (PLAIN, False)])
def test_the_probe_sees_whether_the_template_opens_a_thought(template: str, opens: bool) -> None:
    served = Served(script=SCRIPT, template=template)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.opens_thought is opens

    use(served, work)
