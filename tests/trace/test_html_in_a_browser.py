"""The timeline in a real browser, with each kind of attachment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dreamr import Reasoner, RunOptions
from dreamr.conversation import Conversation, read_attachment
from dreamr.engines import Capabilities
from dreamr.trace import Note, timeline_html
from dreamr.trace.events import all_events
from support.attachments import pdf, png, wav
from support.media_files import clip
from support.pages import PHONE, WIDE, violations
from support.pairs import Pair
from support.sounds import Scripted

pytestmark = pytest.mark.browser

SAID = "What do tea and milk cost together?"


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timeline of a spoken question about an image, a PDF file and a video."""
    folder = tmp_path_factory.mktemp("timeline")
    (folder / "r.png").write_bytes(png(side=64))
    (folder / "bill.pdf").write_bytes(pdf(30, 120, 220, side=200))
    (folder / "clip.mp4").write_bytes(clip(3, codec="libx264", sound=0.3))
    (folder / "question.wav").write_bytes(wav(0.5))
    names = ("r.png", "bill.pdf", "clip.mp4", "question.wav")
    asked = Conversation.from_prompt("", *(read_attachment(folder / name) for name in names))
    deaf = {"capabilities": Capabilities(hears=False, hearing_problem="text only")}
    with Reasoner(
        RunOptions(transcriber="small"),
        open_model=Pair(target=deaf),
        open_transcriber=lambda spec, model: Scripted({"question.wav": SAID}),
    ) as reasoner:
        result = reasoner.ask(asked)
    page = folder / "timeline.html"
    page.write_text(timeline_html(result, question=asked), encoding="utf-8")
    return page


@pytest.mark.parametrize(
    "options", [{"viewport": WIDE}, {"viewport": PHONE}, {"viewport": WIDE, "color_scheme": "dark"}]
)
def test_pages_frames_and_sounds_are_shown(browser: Any, timeline: Path, options: Any) -> None:
    said: list[str] = []
    context = browser.new_context(**options)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(timeline.as_uri())
    assert page.locator("h1").inner_text() == SAID
    labels = page.locator(".media figcaption").all_inner_texts()
    assert labels[:4] == ["r.png", "page 1", "page 2", "page 3"]
    assert len(page.locator(".media img").all()) == 7
    for image in page.locator(".media img").all():
        assert image.evaluate("it => it.decode().then(() => it.naturalWidth)") > 0
    for sound in page.locator(".media audio").all():
        sound.evaluate(LOADED)
        assert sound.evaluate("it => it.duration") > 0.2
    assert page.locator(".media", has_text=f"“{SAID}”").count() == 1
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    assert violations(page) == []
    assert said == []
    context.close()


def test_long_words_do_not_make_the_page_wider_than_a_phone(browser: Any, tmp_path: Path) -> None:
    word = "https://example.org/" + "menu" * 40
    with Reasoner(open_model=Pair()) as reasoner:
        events = list(all_events(reasoner.ask("What does tea cost?")))
    events.insert(1, Note(0.0, word))
    file = tmp_path / "timeline.html"
    file.write_text(timeline_html(events, question=f"{word}\nWhat does tea cost?"), "utf-8")
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.goto(file.as_uri())
    page.locator("li", has_text=word).wait_for()
    assert page.locator("h1").inner_text() == f"{word}\nWhat does tea cost?"
    page.evaluate("word => document.querySelector('.bar').dataset.facts = word", word)
    page.locator(".bar").first.focus()
    page.locator(".detail p", has_text=word).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    context.close()


LOADED = """it => new Promise((done) => {
  if (it.readyState) done();
  else it.onloadedmetadata = done;
})"""
