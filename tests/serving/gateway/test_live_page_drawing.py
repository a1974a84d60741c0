"""How the live page draws an answer that is being written."""

from __future__ import annotations

from typing import Any

import pytest

from support.gateways import QUESTION
from support.listening import listening
from support.pages import page_of, send, streamed

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
