"""Replies of models that think: no tags, the same texts in a stream as in a whole response."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr.engines import Context
from dreamr.steps.thoughts import TAGS
from support.gateways import Answer, Gateway, asked, use
from support.pairs import Pair

THOUGHT = "Let me see.\n\nAnswer: 7 at first sight.\n\nNo, it is 5."
TEXT = "Tea and milk cost 5.\n\n"
ANSWER = "Answer: 5"


def replies(text: str, method: str = "fpsr") -> tuple[Answer, Answer]:
    """Return the whole response and the stream of a pair that writes this text."""
    pair = Pair(target={"script": text}, draft={"script": text, "name": "small"})
    found: list[Answer] = []

    async def work(gateway: Gateway) -> None:
        for stream in (False, True):
            found.append(await gateway.ask(asked(stream=stream, dreamr={"events": stream})))

    use(work, pair, options=RunOptions(method=method, deterministic=True))
    whole, stream = found
    return whole, stream


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{THOUGHT}\n</think>\n\n{TEXT}{ANSWER}",
        f"[THINK]{THOUGHT}[/THINK]{TEXT}{ANSWER}",
        f"{THOUGHT}\n</think>\n\n{TEXT}{ANSWER}",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{TEXT}{ANSWER}<|return|>",
    ],
)
@pytest.mark.parametrize("method", ["fpsr", "target", "token-sd"])
def test_thoughts_are_reasoning_without_tags(text: str, method: str) -> None:
    whole, stream = replies(text, method)
    message = whole.json["choices"][0]["message"]
    assert message["content"] == stream.said("content") == "5"
    assert whole.json["choices"][0]["finish_reason"] == "stop"
    for name in ("reasoning", "reasoning_content"):
        said = message[name]
        assert stream.said(name) == said
        assert said.removesuffix("Answer: 5") == f"{THOUGHT}\n\n{TEXT}"


@pytest.mark.parametrize("text", [f"<think>\n{THOUGHT}", f"<think>{THOUGHT}</think>\n"])
def test_a_thought_without_an_answer_is_reasoning_alone(text: str) -> None:
    for found in replies(text):
        assert found.status == 200
    whole, stream = replies(text)
    choice = whole.json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    assert choice["message"]["reasoning"] == stream.said("reasoning") == THOUGHT
    assert stream.said("content") == ""
    assert whole.json["dreamr"]["finish"] == "length"


TOKENS = (
    "<think>", "</think>", "[THINK]", "[/THINK]", "<thinking>", "<", "th", "ink>", "</", "Answer:",
    "Answer: 7", " a ", "b.", "\n\n", "\n",
)  # fmt: skip
PIECES = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(PIECES, st.sampled_from(["fpsr", "target", "token-sd"]))
def test_no_reply_contains_a_tag_and_a_stream_says_the_same(pieces: list[str], method: str) -> None:
    whole, stream = replies("".join(pieces), method)
    message = whole.json["choices"][0]["message"]
    assert stream.said("content") == message["content"]
    assert stream.said("reasoning") == message["reasoning"]
    shown = json.dumps([message, whole.json, stream.chunks], ensure_ascii=False).lower()
    if method != "token-sd":  # its events hold pieces of tags
        assert not any(tag.lower() in shown for pair in TAGS for tag in pair)


SENTENCE = "Idea {} makes me look at both of the prices again.\n\n"


def unending(context: Context) -> str:
    """Think without end; answer once the thought is closed."""
    said = "".join(context.prefix)
    if "</think>" in said:
        return "Answer: 5"
    text = "<think>\n" + "".join(SENTENCE.format(chr(97 + number)) for number in range(26))
    return text[len(said) :]


@pytest.mark.parametrize("method", ["fpsr", "target", "sequential"])
def test_a_thinking_budget_ends_the_reasoning_and_the_answer_follows(method: str) -> None:
    pair = Pair(target={"script": unending}, draft={"script": unending, "name": "small"})
    found: list[Answer] = []

    async def work(gateway: Gateway) -> None:
        for stream in (False, True):
            extension = {"thinking_budget": 20, "events": stream}
            found.append(await gateway.ask(asked(stream=stream, dreamr=extension)))

    use(work, pair, options=RunOptions(method=method, deterministic=True))
    whole, stream = found
    message = whole.json["choices"][0]["message"]
    thought = "".join(SENTENCE.format(letter) for letter in "ab")
    assert (message["content"], message["reasoning"].strip()) == ("5", thought.strip())
    assert (stream.said("content"), stream.said("reasoning")) == ("5", message["reasoning"])
    assert whole.json["choices"][0]["finish_reason"] == "stop"
    usage = whole.json["usage"]
    assert usage["completion_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"] + 2
