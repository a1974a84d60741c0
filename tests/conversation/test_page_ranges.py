from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import BadPages, PageMissing, PageRanges, TooManyPages


def chosen(text: str, count: int, *, first: int = 8, most: int = 100) -> tuple[int, ...]:
    return PageRanges.parse(text).within(count, "bill.pdf", first=first, most=most)


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("1", (1,)), ("1-3,7", (1, 2, 3, 7)), ("5-", (5, 6, 7, 8, 9)), (" 2 - 3 , 1", (2, 3, 1)),
        ("3,1-4", (3, 1, 2, 4)), ("9-9", (9,)),
        ("", tuple(range(1, 9))), ("  ", tuple(range(1, 9))),
    ],
)  # fmt: skip
def test_a_selection_keeps_its_order_and_each_page_once(text: str, pages: tuple[int, ...]) -> None:
    assert chosen(text, 9) == pages


@pytest.mark.parametrize(
    "text",
    [
        "a", "1,,2", ",", "1-2-3", "-3", "1;2", "1.5", "1 2", "0x1", "+1", "一", "\uff11", "1-3,",
        "²", "1" * 10, "1," * 2000, "1\n2",
    ],
)  # fmt: skip
def test_what_is_not_a_selection_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(BadPages) as found:
        PageRanges.parse(text)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize(
    ("text", "hint"),
    [("0", "count from 1"), ("0-3", "count from 1"), ("2-0", "count from 1"), ("7-3", "3-7")],
)
def test_a_range_that_cannot_be_says_why(text: str, hint: str) -> None:
    with pytest.raises(BadPages, match=hint):
        PageRanges.parse(text)


@pytest.mark.parametrize(("text", "page"), [("4", 4), ("1-9", 9), ("4-", 4), ("1,2,77", 77)])
def test_a_page_beyond_the_end_says_how_many_there_are(text: str, page: int) -> None:
    with pytest.raises(PageMissing) as found:
        chosen(text, 3)
    assert str(found.value) == f"bill.pdf has 3 pages, and no page {page}: choose from 1 to 3"
    with pytest.raises(PageMissing, match="has 1 page, and no page 2: choose page 1"):
        chosen("2", 1)


def test_more_pages_than_allowed_are_refused_before_they_are_listed() -> None:
    assert len(chosen("1-100", 10_000)) == 100
    for text in ("1-", "1-101", "1-999999999"):
        with pytest.raises(TooManyPages, match="more than 100 pages of bill"):
            chosen(text, 999_999_999)


@given(pages=st.lists(st.integers(1, 500), min_size=1, max_size=60), data=st.data())
def test_every_list_of_pages_can_be_written(pages: list[int], data: st.DataObject) -> None:
    text = ",".join(f"{p}-{p}" if data.draw(st.booleans()) else f" {p} " for p in pages)
    assert chosen(text, 500) == tuple(dict.fromkeys(pages))


@given(st.text(max_size=40), st.integers(1, 10**9))
def test_any_text_is_a_selection_or_an_error_of_ours(text: str, count: int) -> None:
    try:
        pages = chosen(text, count)
    except (BadPages, PageMissing, TooManyPages):
        return
    assert 1 <= len(pages) <= 100
    assert all(1 <= page <= count for page in pages)
