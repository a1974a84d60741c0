"""Thoughts over HTTP: templates that open or close them, and servers that parse them."""

from __future__ import annotations

from functools import partial

import PIL.Image
import pytest

from dreamr.conversation import Conversation, read_image
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http import HttpEngine
from dreamr.errors import EngineError, Unsupported
from support.served import PLAIN, THINKING, Json, Served
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


GEMMA = ("<|channel>thought\n", "So it is.", "\n<channel|>", "Four")
MAGISTRAL = ("[THINK]", "So it is.", "[/THINK]", "Four")


def hidden(pieces: tuple[str, ...], body: Json) -> str:
    """What a model writes in pieces, without its special tokens unless they are asked for."""
    opening, thought, _, answer = pieces
    if body.get("skip_special_tokens") is False:
        return "".join(pieces)
    return f"{opening.replace('<|channel>', '').replace('[THINK]', '')}{thought}\n{answer}"


@pytest.mark.parametrize("owner", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("model", "pieces", "thinking"),
    [
        ("gemma-4-E4B-it", GEMMA, "on"),
        ("Magistral-Small-2509", MAGISTRAL, "auto"),
        ("Mistral-Medium-3.5-128B", MAGISTRAL, "on"),
    ],
)
def test_tags_that_are_special_tokens_are_kept(
    model: str, pieces: tuple[str, ...], thinking: str, owner: str
) -> None:
    served = Served(owner=owner, models=(model,), said=partial(hidden, pieces))
    chunks = read(served, options={"thinking": thinking})
    assert text(chunks) == "".join(pieces)


@pytest.mark.parametrize("thinking", ["auto", "off"])
def test_special_tokens_stay_out_of_a_text_without_a_thought(thinking: str) -> None:
    served = Served(models=("gemma-4-E4B-it",), script="Four")
    assert text(read(served, options={"thinking": thinking})) == "Four"
    assert "skip_special_tokens" not in served.chats[-1]


@pytest.mark.parametrize(
    ("model", "pieces"), [("gemma-4-E4B-it", GEMMA), ("Magistral-Small-2509", MAGISTRAL)]
)
def test_reasoning_in_a_separate_field_gets_the_tags_of_its_family(
    model: str, pieces: tuple[str, ...]
) -> None:
    served = Served(models=(model,), parsed=True, said=lambda body: "So it is. </think> Four")
    opening, _, closing, answer = pieces
    assert text(read(served)) == f"{opening}So it is. {closing}{answer}"
