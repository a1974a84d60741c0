from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from dreamr import RunOptions
from dreamr.conversation import Audio, Conversation
from dreamr.conversation.kinds import kind_of
from dreamr.engines import Capabilities
from dreamr.serving.gateway.content_parts import file_name
from support.attachments import kinds, pdf, png, wav
from support.gateways import QUESTION, Answer, Gateway, use
from support.listening import listening
from support.media_files import clip
from support.pages import PHONE, finished, noting, page_of, returned, send, violations
from support.pairs import RIGHT, WRONG, Pair
from support.sounds import Scripted


def test_the_page_connects_only_to_the_gateway() -> None:
    async def read(gate: Gateway) -> tuple[Answer, list[Answer]]:
        page = await gate.get("/")
        names = re.findall(r'(?:href|src)="(static/[^"]+)"', page.body.decode())
        texts = {name: await gate.get(f"/{name}") for name in names}
        while missing := modules(texts) - set(texts):
            texts |= {name: await gate.get(f"/{name}") for name in missing}
        return page, list(texts.values())

    page, parts = use(read)
    assert page.status == 200
    assert len(parts) > 10
    for part in (page, *parts):
        assert part.status == 200
        text = part.body.decode()
        assert not re.search(r"https?://|//[a-z]+\.", text)
        # Texts are set as text content, so that no answer can be markup.
        assert "innerHTML" not in text
        policy = part.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "connect-src 'self';" in policy
        assert "unsafe-inline" not in policy
        assert part.headers["x-content-type-options"] == "nosniff"


def modules(texts: dict[str, Answer]) -> set[str]:
    """Return the scripts that scripts import."""
    found = (re.findall(r'from "\./([^"]+)"', one.body.decode()) for one in texts.values())
    return {f"static/{name}" for names in found for name in names}


def test_only_files_of_the_page_are_served() -> None:
    for name in ("page.html", "none.js", "..%2fpage.py", ".js"):
        assert use(lambda gate, name=name: gate.get(f"/static/{name}")).status == 404


def test_a_model_name_cannot_inject_markup() -> None:
    page = use(lambda gate: gate.get("/"), served_model_name='x"><script>alert(1)</script>')
    text = page.body.decode()
    assert "<script>alert" not in text
    assert "x&quot;&gt;&lt;script&gt;alert(1)" in text


# In a real browser


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
    with listening(noting(seen)) as url, page_of(browser, url) as page:
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
    with listening(noting(seen)) as url, page_of(browser, url) as page:
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
def test_the_content_of_a_file_decides_and_not_its_name(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "bill.png").write_bytes(pdf(30))
    (tmp_path / "photo.mp4").write_bytes(png())
    (tmp_path / "clip.mp4").write_bytes(clip(3, codec="libx264", sound=0.3))
    seen: list[Conversation] = []
    with listening(noting(seen)) as url, page_of(browser, url) as page:
        page.set_input_files("#file", [tmp_path / n for n in ("bill.png", "photo.mp4", "clip.mp4")])
        page.locator("#waiting button").nth(2).wait_for()
        assert page.locator("#waiting .file").all_inner_texts() == ["PNG\nbill.png"]
        assert page.locator("#waiting img").get_attribute("alt") == "photo.mp4"
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        finished(page)
    assert len(seen[0].images) == 5
    assert len(seen[0].sounds) == 1


READ = """async ([[name, type, content], taken]) => {
  const { readAttachment } = await import("./static/attachments.js");
  const bytes = Uint8Array.from(content);
  return readAttachment(new File([bytes], name, { type }), taken);
}"""


@pytest.mark.browser
def test_names_of_files_are_those_that_the_gateway_shows(browser: Any) -> None:
    names = [
        "bill.pdf", "\x01a\x7f\x02.wav ", "..\\a/b.wav", "a" * 99 + " b.wav", "\x00", "\N{BOM}.wav",
        "x" * 500 + ".wav", "\N{GRINNING FACE}" * 99 + ".m4a", "a" * 100, "." + "y" * 99, "\x85a",
    ]  # fmt: skip
    with listening() as url, page_of(browser, url) as page:
        for name in names:
            taken: list[str] = []
            for _ in range(12):
                found = page.evaluate(READ, [[name, "audio/wav", []], taken])["name"]
                assert found == file_name(found)
                assert found not in taken
                taken.append(found)
            assert taken[0].endswith((file_name(name) or "file").strip("\N{BOM}"))


@pytest.mark.browser
def test_the_brand_and_the_declared_type_tell_images_sounds_and_videos_apart(browser: Any) -> None:
    brands = ("avif", "avis", "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "isom")
    images = [b for b in brands if kind_of(b"\0\0\0\x18ftyp" + b.encode(), b).name == "image"]
    assert len(images) == len(brands) - 1
    cases = [
        *((brand, "", "image") for brand in images),
        ("M4A ", "", "sound"), ("M4B ", "", "sound"), ("isom", "audio/mp4", "sound"),
        ("isom", "video/mp4", "video"), ("isom", "", "video"),
    ]  # fmt: skip
    with listening() as url, page_of(browser, url) as page:
        for brand, declared, kind in cases:
            head = list(b"\0\0\0\x18ftyp" + brand.encode())
            assert page.evaluate(READ, [["a", declared, head], []])["kind"] == kind, brand


@pytest.mark.browser
def test_what_was_heard_in_a_file_with_an_odd_name_is_corrected(browser: Any) -> None:
    sound = {"name": "a" * 120 + "\x01b.wav", "mimeType": "audio/wav", "buffer": wav(0.5)}
    name = file_name(str(sound["name"]))
    deaf = Capabilities(hears=False, hearing_problem="text only")
    scripted = Scripted({name: "What do T and milk cost?"})
    spoken = RunOptions(method="target", transcriber="small")
    pair = noting([], capabilities=deaf)
    with (
        listening(pair, spoken, lambda spec, model: scripted) as url,
        page_of(browser, url) as page,
    ):
        send(page, "", sound)
        page.get_by_role("button", name=f"Correct what was heard in {name}").click()
        page.locator(".correction textarea").fill(QUESTION)
        page.keyboard.press("Enter")
        page.locator(".run h2", has_text=QUESTION).wait_for()
        finished(page)
    assert len(scripted.asked) == 1  # the text replaces the sound


@pytest.mark.browser
def test_a_file_that_cannot_be_read_is_named_and_the_question_is_kept(
    browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    with listening() as url, page_of(browser, url, errors=True) as page:
        page.set_input_files("#file", tmp_path / "broken.pdf")
        page.locator("#waiting .file").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="broken.pdf").wait_for()
        returned(page, QUESTION)
        page.click("#waiting button")
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()


@pytest.mark.browser
def test_files_without_a_question_ask_for_one(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "r.png").write_bytes(png())
    with listening() as url, page_of(browser, url) as page:
        page.set_input_files("#file", tmp_path / "r.png")
        page.locator("#waiting img").wait_for()
        page.click("#send")
        page.locator("#trouble", has_text="Type a question about the files").wait_for()
        assert page.locator("#waiting img").count() == 1


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
        page.click("#options summary")
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
    with (
        listening(keys_file=str(tmp_path / "keys")) as url,
        page_of(browser, url, errors=True) as page,
    ):
        page.fill("#key", "sk-one")
        page.locator("#key").blur()
        page.locator("#about", has_text="target").wait_for()
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()


@pytest.mark.browser
def test_an_error_of_the_gateway_is_shown(browser: Any) -> None:
    with listening(max_text=5) as url, page_of(browser, url, errors=True) as page:
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".wrong", has_text="characters").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": PHONE}])
def test_the_page_meets_the_rules_of_accessibility(
    browser: Any, options: Any, tmp_path: Path
) -> None:
    (tmp_path / "bill.pdf").write_bytes(pdf(30))
    (tmp_path / "tone.wav").write_bytes(wav(0.5))
    with listening() as url, page_of(browser, url, **options) as page:
        assert violations(page) == []
        page.set_input_files("#file", [tmp_path / "bill.pdf", tmp_path / "tone.wav"])
        page.locator("#waiting button").nth(1).wait_for()
        page.click("#options summary")
        assert violations(page) == []
        send(page, QUESTION)
        assert violations(page) == []
        if page.locator("#chats").is_visible():
            page.click("#chats")
            page.locator("#list button").first.wait_for()
            assert violations(page) == []


@pytest.mark.browser
def test_editing_keeps_an_unsent_question_and_ends_with_escape(browser: Any) -> None:
    with listening() as url, page_of(browser, url) as page:
        send(page, QUESTION)
        edit = page.get_by_role("button", name="Edit the question")
        page.fill("#question", "And coffee?")
        edit.click()
        assert page.input_value("#question") == "And coffee?"
        assert "Send or remove" in page.locator("#trouble").inner_text()
        page.fill("#question", "")
        edit.click()
        assert page.input_value("#question") == QUESTION
        page.keyboard.press("Escape")
        assert page.input_value("#question") == ""
        assert page.locator(".replaced").count() == 0
        send(page, "And coffee?")
        assert page.locator(".run h2").all_inner_texts() == [QUESTION, "And coffee?"]
