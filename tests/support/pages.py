"""Pages in a browser: the live page, and files of HTML."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.engines import Capabilities, Context
from support.listening import listening
from support.pairs import RIGHT, Pair
from support.sounds import Scripted

# The headless shell starts in a third of the time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
# A microphone that plays a tone.
CHROMIUM_ARGS = [
    "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
WIDE, PHONE = {"width": 1100, "height": 900}, {"width": 360, "height": 700}


def mishearing() -> AbstractContextManager[str]:
    """Run a gateway that takes the word "tea" in question.wav for a letter, and yield its URL."""
    deaf = Capabilities(hears=False, hearing_problem="text only")
    scripted = Scripted({"question.wav": "What do T and milk cost together?"})
    spoken = RunOptions(method="target", transcriber="small")
    return listening(noting([], capabilities=deaf), spoken, lambda spec, model: scripted)


@contextmanager
def page_of(browser: Any, url: str, *, errors: bool = False, **options: Any) -> Iterator[Any]:
    """Open a page; check that its console stays empty and that it contacts only the gateway.

    Args:
        browser: The browser.
        url: Address of the gateway.
        errors: Whether responses with an error status are expected; the browser reports these.
        options: Options of the window.
    """
    said: list[str] = []
    requested: list[str] = []
    context = browser.new_context(**{"viewport": WIDE, **options})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(url)
    opened(page)
    yield page
    if errors:
        said = [text for text in said if not text.startswith("Failed to load resource")]
    assert said == []
    assert all(one.startswith((url, "data:", "blob:")) for one in requested)
    context.close()


def opened(page: Any) -> None:
    """Wait until the page shows its chats."""
    page.locator("body[data-ready]").wait_for()


def returned(page: Any, question: str) -> None:
    """Wait until a refused question is in its field again."""
    from playwright.sync_api import expect

    expect(page.locator("#question")).to_have_value(question)


def finished(page: Any) -> None:
    """Wait until no answer is awaited."""
    page.locator("#send", has_text="Ask").wait_for()


def send(page: Any, question: str, *files: Any, answer: str = "3.70") -> None:
    """Ask a question with files, and wait for its answer."""
    before = page.locator(".run").count()
    if files:
        page.set_input_files("#file", list(files))
        page.locator("#waiting button").nth(len(files) - 1).wait_for()
    page.fill("#question", question)
    page.click("#send")
    page.locator(".run").nth(before).locator(".answer", has_text=answer).wait_for()
    finished(page)


def streamed(*deltas: dict[str, Any], finish: str = "tool_calls") -> str:
    """Return a stream as OpenAI's API sends it."""
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    lines = [json.dumps({"object": "chat.completion.chunk", "choices": [one]}) for one in choices]
    return "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]"))


class Held:
    """Requests for answers, held until the test answers them.

    Attributes:
        page: The page that asks.
        requests: Bodies of the requests so far.
    """

    def __init__(self, page: Any) -> None:
        """Hold the requests of a page."""
        self.page = page
        self.requests: list[Any] = []
        self._routes: list[Any] = []
        page.route("**/v1/chat/completions", self._hold)

    def _hold(self, route: Any) -> None:
        self.requests.append(route.request.post_data_json)
        self._routes.append(route)

    def _next(self) -> Any:
        for _ in range(500):
            if self._routes:
                return self._routes.pop(0)
            self.page.wait_for_timeout(20)
        return pytest.fail("no question was sent")

    def stream(self, body: str) -> None:
        """Answer the oldest request with a stream, and wait for its end."""
        self._next().fulfill(status=200, content_type="text/event-stream", body=body)
        finished(self.page)

    def answer(self, answer: str = "3.70") -> None:
        """Answer the oldest request, and wait until the answer is shown."""
        self.stream(streamed({"content": answer}, finish="stop"))
        self.page.locator(".answer", has_text=answer).last.wait_for()

    def refuse(self) -> None:
        """Refuse the oldest request, as a busy gateway does."""
        error = {"message": "the gateway is busy", "code": "overloaded"}
        self._next().fulfill(status=429, json={"error": error})


def noting(seen: list[Conversation], **target: Any) -> Pair:
    """Return a pair whose target notes the conversations that it is asked about."""

    def script(context: Context) -> str:
        seen.append(context.conversation)
        return "".join(RIGHT[len(context.prefix) :])

    return Pair(target={"script": script, **target})


def violations(page: Any) -> list[str]:
    """Return the rules of accessibility that a page violates, and where."""
    pytest.importorskip("axe_playwright_python")
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(f"{axe}; undefined")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
