"""Pieces of text add up to the whole text and never contain half a character."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dreamr.engines.local.detokenize import Texts
from support.local_calls import META
from support.local_models import make_tokenizer

TOKENIZER = make_tokenizer()
BYTES = Texts(TOKENIZER.backend_tokenizer, frozenset(TOKENIZER.all_special_ids))


PIECES = Texts(META, frozenset({0, 1}))


def written(texts: Texts, ids: list[int], context: list[int] | None = None) -> list[str]:
    detokenizer = texts.start(context or [])
    return [detokenizer.push(token) for token in ids]


def test_byte_level_tokenizers_are_recognized() -> None:
    assert BYTES.byte_level
    assert not PIECES.byte_level


@settings(deadline=None)
@given(st.lists(st.integers(0, 399), max_size=40))
def test_the_pieces_of_any_tokens_add_up_to_the_whole_text(ids: list[int]) -> None:
    detokenizer = BYTES.start([])
    text = "".join(map(detokenizer.push, ids))
    whole = TOKENIZER.decode(ids, skip_special_tokens=True)
    assert whole == text + ("\ufffd" if detokenizer.pending else "")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_pieces_are_whole_characters(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    parts = written(BYTES, ids)
    assert "".join(parts) == text
    broken = text.count("\ufffd")
    assert sum(part.count("\ufffd") for part in parts) == broken


def test_a_character_of_several_tokens_is_emitted_with_the_last() -> None:
    ids = TOKENIZER.encode("𝄞", add_special_tokens=False)
    assert len(ids) == 4
    assert written(BYTES, ids) == ["", "", "", "𝄞"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="the tea and milk, Grüße 東京 𝄞", max_size=30))
def test_sentencepiece_tokens_give_the_same_text(text: str) -> None:
    context = META.encode("the tea", add_special_tokens=False).ids
    ids = META.encode("the tea" + text, add_special_tokens=False).ids
    assume(ids[: len(context)] == context)
    assert "".join(written(PIECES, ids[len(context) :], context)) == text


@pytest.mark.parametrize("texts", [BYTES, PIECES])
def test_special_tokens_have_no_text(texts: Texts) -> None:
    assert written(texts, [0, 1]) == ["", ""]


def test_bytes_that_never_form_a_character_do_not_hold_back_the_text_forever() -> None:
    lone = META.token_to_id("<0xE6>")
    assert "".join(written(PIECES, [lone] * 40)) != ""
