"""What the live page takes from people: keys, files, pasted texts and words of input methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.gateways import QUESTION
from support.listening import listening
from support.pages import page_of, returned

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
