"""How the live page draws an answer that is being written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dreamr.answers import AnswerPiece
from support.gateways import QUESTION
from support.listening import listening
from support.pages import page_of, send, streamed
from support.pairs import Pair

pytestmark = pytest.mark.browser

# Counts how often the text of an answer is set, and the frames of the browser.
COUNT = """() => {
  window.drawn = 0;
  window.frames_shown = 0;
  const drawn = (records) => records.filter(({ target }) => target.className === "answer").length;
  new MutationObserver((records) => { window.drawn += drawn(records); })
    .observe(document.querySelector("#runs"), { childList: true, subtree: true });
  const frame = () => { window.frames_shown += 1; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""


def test_an_answer_is_drawn_once_a_frame_however_many_tokens_arrive(browser: Any) -> None:
    body = streamed(*({"content": f"{number} "} for number in range(500)), finish="stop")
    with listening() as url, page_of(browser, url) as page:
        page.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
        )
        page.evaluate(COUNT)
        send(page, QUESTION, answer="498 499")
        drawn, frames = page.evaluate("[window.drawn, window.frames_shown]")
    assert 0 < drawn <= frames + 1  # and once at the end


TOOL = {"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}


def test_a_thought_that_comes_with_the_answer_is_shown_while_it_is_written(browser: Any) -> None:
    pieces = [
        AnswerPiece(reasoning="Add "),
        AnswerPiece(reasoning="both."),
        AnswerPiece("3.70", tokens=1000),
    ]
    pair = Pair(target={"answers": pieces, "problem": "no tool parser", "token_seconds": 1.0})
    with listening(pair) as url, page_of(browser, url) as page:
        page.click("#options summary")
        page.fill("#tools", json.dumps([TOOL]))
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator("li.target .text", has_text="Add both.").wait_for()
        page.click("#send.stop")
        page.locator(".wrong", has_text="Stopped").wait_for()


def test_a_thought_that_comes_with_the_answer_is_one_step(browser: Any) -> None:
    pieces = [AnswerPiece(reasoning="Add both.", tokens=1), AnswerPiece("3.70", tokens=1)]
    pair = Pair(target={"answers": pieces, "problem": "no tool parser"})
    with listening(pair) as url, page_of(browser, url) as page:
        page.click("#options summary")
        page.fill("#tools", json.dumps([TOOL]))
        send(page, QUESTION)
        assert page.locator("ol.steps .text").all_inner_texts() == ["Add both."]
