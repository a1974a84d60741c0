from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._api_keys import clean_key
from dreamr._option_specs import BadOption


@pytest.mark.parametrize(
    "text",
    [
        "sk-secret",
        "sk-secret\n",
        "  sk-secret\r\n",
        "\ufeffsk-secret",
        "\u00a0sk-secret\u00a0",
        '"sk-secret"',
        "'sk-secret'\n",
        "Bearer sk-secret",
        "bearer  sk-secret",
        '"Bearer sk-secret"',
        "Authorization: Bearer sk-secret",
    ],
)
def test_what_was_copied_around_a_key_is_removed(text: str) -> None:
    assert clean_key(text, "DREAMR_API_KEY") == "sk-secret"


@pytest.mark.parametrize("text", ["", " ", "\n", '""', "Bearer", "Bearer \n"])
def test_nothing_is_no_key(text: str) -> None:
    assert clean_key(text, "DREAMR_API_KEY") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sk-one\nsk-two", "a line break"),
        ("sk-one\r\nX-Header: 1", "a line break"),
        ("sk-one sk-two", "a space"),
        ("sk-one\tsk-two", "a space"),
        ("sk-one\x00", "a control character"),
        ("sk-\x1b[2J", "a control character"),
        ("sk-ключ", "a character that is not ASCII"),
        ("sk-one\u200b", "a character that is not ASCII"),
        ("sk-\ud83d", "a character that is not ASCII"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(text: str, kind: str) -> None:
    with pytest.raises(BadOption) as found:
        clean_key(text, "DREAMR_API_KEY")
    assert str(found.value) == (
        f"the API key in DREAMR_API_KEY contains {kind}: give the key alone, as issued"
    )


@given(st.text())
def test_a_key_is_printable_ascii_or_refused(text: str) -> None:
    try:
        key = clean_key(text, "a file")
    except BadOption:
        return
    assert key is None or (key.isascii() and key.isprintable() and " " not in key)
