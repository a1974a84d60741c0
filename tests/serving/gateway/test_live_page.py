from __future__ import annotations

import math
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from dreamr import RunOptions
from dreamr.conversation import Audio, Conversation
from dreamr.engines import Capabilities, Context
from dreamr.serving.gateway.page import read_page
from support.attachments import kinds, pdf, png, wav
from support.gateways import QUESTION, use
from support.listening import listening
from support.media_files import clip
from support.pairs import RIGHT, WRONG, Pair
from support.sounds import Scripted


def test_the_page_connects_only_to_the_gateway() -> None:
    found = use(lambda gate: gate.get("/"))
    page = found.body.decode()
    assert found.status == 200
    assert not re.search(r"https?://|//[a-z]+\.", page)
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    # Texts are set as text content, so that no answer can be markup.
    assert "innerHTML" not in page


def test_a_model_name_cannot_inject_markup() -> None:
    page, _ = read_page('x"</script><script>alert(1)')
    assert page.count("<script>") == 1 + page.count("<script>alert")
    assert "</script><script>alert" not in page


# In a real browser

CHROMIUM = shutil.which("chromium")
# A microphone that plays a tone.
CHROMIUM_ARGS = [
    "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
WIDE, PHONE = {"width": 1100, "height": 900}, {"width": 360, "height": 700}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)


@contextmanager
def page_of(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open a page; check that its console stays empty and that it contacts only the gateway."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(**{"viewport": WIDE, **options})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    assert said == []
    assert all(one.startswith((url, "data:", "blob:")) for one in asked)
    context.close()


def finished(page: Any) -> None:
    page.locator("#send", has_text="Ask").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": PHONE, "has_touch": True}]
)
def test_the_page_shows_steps_lanes_and_scores(browser: Any, options: Any, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (60, 40), "red").save(tmp_path / "r.png")
    with listening() as url, page_of(browser, url, **options) as page:
        page.set_input_files("#file", tmp_path / "r.png")
        page.locator("#waiting img").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert page.locator("li.accepted .text").all_inner_texts() == [RIGHT[0].strip()]
        assert page.locator("li.rejected .text").all_inner_texts() == [WRONG.strip()]
        assert page.locator("li.target .text").all_inner_texts() == [RIGHT[1].strip()]
        struck = page.locator("li.rejected .text")
        assert page.locator("li.accepted .score").inner_text() == "judge ratio 0.93"
        assert page.locator("li.rejected .score").inner_text() == "judge ratio 0.00"
        assert struck.evaluate("it => getComputedStyle(it).textDecorationLine") == "line-through"
        assert page.locator(".lane i.rejected").count() == 1
        assert page.locator(".figures").inner_text().count("1 of 2") == 1
        assert page.locator(".thumbs img").count() == 1
        width = page.viewport_size["width"]
        assert page.evaluate_handle("document.documentElement").get_property(
            "scrollWidth"
        ).json_value() <= width  # fmt: skip


@pytest.mark.browser
def test_files_of_any_kind_are_sent_and_shown(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30, 220))
    (tmp_path / "tone.wav").write_bytes(wav(0.5))
    (tmp_path / "r.png").write_bytes(png())
    seen: list[Conversation] = []
    pair = Pair(target={"script": noted(seen)})
    with listening(pair) as url, page_of(browser, url) as page:
        page.set_input_files("#file", [tmp_path / n for n in ("bill.pdf", "tone.wav", "r.png")])
        page.locator("#waiting button").nth(2).wait_for()
        assert page.locator("#waiting .file").all_inner_texts() == [
            "PDF\nbill.pdf",
            "WAV\ntone.wav",
        ]
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert page.locator(".thumbs .file").count() == 1
        assert page.locator(".thumbs audio").evaluate("it => it.duration") == pytest.approx(0.5)
        assert page.locator("#waiting button").count() == 0
    assert kinds(seen[0]) == ["Text", "Image", "Text", "Image", "Audio", "Image", "Text"]


@pytest.mark.browser
def test_a_question_is_recorded_with_the_microphone(browser: Any) -> None:
    seen: list[Conversation] = []
    pair = Pair(target={"script": noted(seen)})
    with listening(pair) as url, page_of(browser, url) as page:
        page.click("#record")
        page.locator("#record", has_text="Stop · 1 s").wait_for()
        page.click("#record")
        page.locator("#waiting .file", has_text="recording.webm").wait_for()
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert page.locator(".asked", has_text="Spoken question").count() == 1
    [asked] = [part for part in seen[0].turns[-1].parts if isinstance(part, Audio)]
    assert asked.seconds > 0.5


@pytest.mark.browser
def test_what_was_heard_is_shown_and_can_be_corrected(browser: Any) -> None:
    deaf = {"capabilities": Capabilities(hears=False, hearing_problem="text only")}
    scripted = Scripted({"recording.webm": "What do T and milk cost together?"})
    options = RunOptions(method="target", transcriber="small")
    with (
        listening(Pair(target=deaf), options, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        page.click("#record")
        page.locator("#record", has_text="Stop · 1 s").wait_for()
        page.click("#record")
        page.locator("#waiting .file").wait_for()
        page.click("#send")
        page.locator(
            ".heard", has_text="Heard in recording.webm: “What do T and milk cost together?”"
        ).wait_for()
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        page.click(".heard button")
        assert page.input_value("#question") == "What do T and milk cost together?"
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").nth(1).wait_for()
        finished(page)
        assert page.locator(".heard").count() == 1  # of the earlier turn


@pytest.mark.browser
def test_the_content_of_a_file_decides_and_not_its_name(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.png").write_bytes(pdf(30))
    (tmp_path / "photo.mp4").write_bytes(png())
    (tmp_path / "clip.mp4").write_bytes(clip(3, codec="libx264", sound=0.3))
    seen: list[Conversation] = []
    pair = Pair(target={"script": noted(seen)})
    with listening(pair) as url, page_of(browser, url) as page:
        page.set_input_files("#file", [tmp_path / n for n in ("bill.png", "photo.mp4", "clip.mp4")])
        page.locator("#waiting button").nth(2).wait_for()
        page.locator("#waiting .file").nth(1).wait_for()  # the names alone of two
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
    assert len(seen[0].images) == 5
    assert len(seen[0].sounds) == 1


@pytest.mark.browser
def test_a_file_that_cannot_be_read_is_named_and_the_question_is_kept(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    with listening() as url:
        context = browser.new_context(viewport=WIDE)
        page = context.new_page()
        page.goto(url)
        page.set_input_files("#file", tmp_path / "broken.pdf")
        page.locator("#waiting .file").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="broken.pdf").wait_for()
        finished(page)
        assert page.input_value("#question") == QUESTION
        page.click("#waiting button")
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        context.close()


@pytest.mark.browser
def test_files_without_a_question_ask_for_one(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url) as page:
        page.set_input_files("#file", tmp_path / "r.png")
        page.locator("#waiting img").wait_for()
        page.click("#send")
        page.locator("#trouble", has_text="Type a question about the files").wait_for()
        assert page.locator("#waiting img").count() == 1


def noted(seen: list[Conversation]) -> Any:
    """Return a script of the target that notes the conversations it is asked about."""

    def script(context: Context) -> str:
        seen.append(context.conversation)
        return "".join(RIGHT[len(context.prefix) :])

    return script


@pytest.mark.browser
def test_the_page_works_with_the_keyboard(browser: Any) -> None:
    endless = Pair(target={"token_seconds": math.inf}, draft={"token_seconds": math.inf})
    with listening(endless) as url, page_of(browser, url) as page:
        page.keyboard.type("One?")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("Two?")
        page.keyboard.press("Enter")
        page.locator(".asked", has_text="Two?").wait_for()
        page.locator("#send", has_text="Stop").wait_for()
        page.keyboard.press("Escape")
        page.locator(".wrong", has_text="Stopped").wait_for()
        finished(page)


@pytest.mark.browser
def test_the_threshold_field_is_sent(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.fill("#threshold", "0.95")
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
        assert page.locator("li.rejected .score").first.inner_text() == "judge ratio 0.93"


@pytest.mark.browser
def test_texts_of_a_model_are_never_markup(browser: Any) -> None:
    evil = "<img src=x onerror=alert(1)>.\n\n"
    script = [evil, "Answer: <b>4</b>"]
    pair = Pair(target={"script": script, "opinion": 1.0}, draft={"script": script})
    with listening(pair) as url, page_of(browser, url) as page:
        page.fill("#question", "<i>What?</i>")
        page.keyboard.press("Enter")
        page.locator(".answer", has_text="<b>4</b>").wait_for()
        finished(page)
        assert page.locator("article img, article b, article i:not(.lane i)").count() == 0


@pytest.mark.browser
def test_a_gateway_with_keys_asks_for_one(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sk-one\n")
    with listening(keys_file=str(tmp_path / "keys")) as url:
        context = browser.new_context(viewport=WIDE)
        page = context.new_page()
        page.goto(url)
        page.fill("#key", "sk-one")
        page.locator("#key").blur()
        page.locator("#about", has_text="target").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        context.close()


@pytest.mark.browser
def test_an_error_of_the_gateway_is_shown(browser: Any) -> None:
    with listening(max_text=5) as url:
        context = browser.new_context(viewport=WIDE)
        page = context.new_page()
        page.goto(url)
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="characters").wait_for()
        context.close()
