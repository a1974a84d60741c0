"""What the live page takes from people: keys, files, pasted texts and words of input methods."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.attachments import pdf
from support.gateways import QUESTION
from support.listening import listening
from support.pages import Held, finished, page_of, returned, send

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("key", ["sk\u2013one", "sk-\u00f6ne"])
def test_a_key_with_characters_that_no_key_has_is_asked_for_again(
    browser: Any, tmp_path: Path, key: str
) -> None:
    (tmp_path / "keys").write_text("sk-one\n")
    with (
        listening(keys_file=str(tmp_path / "keys")) as url,
        page_of(browser, url, errors=True) as page,
    ):
        page.fill("#key", key)
        page.locator("#key").blur()
        page.locator("#about", has_text="printable ASCII").wait_for()
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator(".run .wrong", has_text="printable ASCII").wait_for()
        returned(page, QUESTION)
        assert page.evaluate("document.activeElement.id") == "key"
        page.fill("#key", "\u00a0sk-one ")  # white space comes along when a key is copied
        page.keyboard.press("Enter")
        page.locator(".answer", has_text="3.70").wait_for()


def edit(path: Path) -> None:
    """Write a file again, at a time that browsers tell from the first: they compare seconds."""
    path.write_bytes(pdf(30, 220))
    os.utime(path, (0, 0))


@pytest.mark.parametrize("change", [edit, Path.unlink])
def test_a_file_that_changed_since_it_was_added_is_named(
    browser: Any, tmp_path: Path, change: Any
) -> None:
    bill = tmp_path / "bill.pdf"
    bill.write_bytes(pdf(30))
    with listening() as url, page_of(browser, url, errors=True) as page:
        page.set_input_files("#file", bill)
        page.locator("#waiting .file").wait_for()
        change(bill)
        page.fill("#question", QUESTION)
        page.click("#send")
        page.locator(".run .wrong", has_text="bill.pdf was changed or removed").wait_for()
        returned(page, QUESTION)
        finished(page)
        assert page.locator("#trouble:visible").count() == 0
        page.click("#waiting button")
        bill.write_bytes(pdf(30))
        page.set_input_files("#file", bill)
        page.locator("#waiting .file").wait_for()
        page.click("#send")
        page.locator(".answer", has_text="3.70").wait_for()
        assert page.locator(".run").count() == 1


def test_a_changed_file_of_an_earlier_question_needs_a_new_chat(
    browser: Any, tmp_path: Path
) -> None:
    """A gateway that stores no files gets them with each question."""
    bill = tmp_path / "bill.pdf"
    bill.write_bytes(pdf(30))
    with (
        listening(max_stored_bytes=0) as url,
        page_of(browser, url, errors=True) as page,
    ):
        send(page, QUESTION, bill)
        edit(bill)
        page.fill("#question", "And coffee?")
        page.click("#send")
        page.locator(".run .wrong", has_text="begin a new chat").wait_for()
        returned(page, "And coffee?")
        page.fill("#question", "")
        page.click("#fresh")
        send(page, QUESTION, bill)


# 229 is the code of keys that an input method handles. Of the key that ends a composition, Safari
# says nothing else.
COMPOSING: list[dict[str, Any]] = [{"isComposing": True}, {"keyCode": 229}]
PRESS = """(key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...key }))"""


@pytest.mark.parametrize("composing", COMPOSING)
def test_enter_that_ends_the_composition_of_a_word_does_not_send(
    browser: Any, composing: dict[str, Any]
) -> None:
    with listening() as url, page_of(browser, url) as page:
        page.fill("#question", "tea")
        page.evaluate(PRESS, {"key": "Enter", **composing})
        assert page.locator(".run").count() == 0
        assert page.input_value("#question") == "tea"


@pytest.mark.parametrize("composing", COMPOSING)
def test_escape_that_ends_the_composition_of_a_word_does_not_stop_an_answer(
    browser: Any, composing: dict[str, Any]
) -> None:
    with listening() as url, page_of(browser, url) as page:
        held = Held(page)
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        page.locator("#send.stop").wait_for()
        page.evaluate(PRESS, {"key": "Escape", **composing})
        held.answer()
        assert page.locator(".wrong:visible").count() == 0


# Pastes texts, by type, and an image.
PASTE = """(texts) => {
  const clipboardData = new DataTransfer();
  for (const [type, text] of Object.entries(texts)) clipboardData.setData(type, text);
  clipboardData.items.add(new File(["\\x89PNG"], "image.png", { type: "image/png" }));
  return document.querySelector("#question").dispatchEvent(
    new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def test_a_text_is_pasted_without_its_image(browser: Any) -> None:
    """Office programs put an image of the text on the clipboard too."""
    with listening() as url, page_of(browser, url) as page:
        assert page.evaluate(PASTE, {"text/plain": "tea", "text/html": "<b>tea</b>"})  # left to it
        assert page.locator("#waiting button").count() == 0


@pytest.mark.parametrize(
    "texts",
    [
        {"text/html": "<img src='tea.png'>"},  # an image of a page
        {"text/plain": "image.png"},  # a file with its name
        {"text/plain": "\n", "text/html": "<img src='tea.png'>"},  # an image of a document
    ],
)
def test_an_image_is_pasted_and_not_the_text_beside_it(browser: Any, texts: dict[str, str]) -> None:
    with listening() as url, page_of(browser, url) as page:
        assert not page.evaluate(PASTE, texts)
        page.locator("#waiting button").wait_for()
