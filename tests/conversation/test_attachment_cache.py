"""A file is decoded once, as long as its content, its name and what is read of it stay the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import (
    AttachmentCache,
    AttachmentMissing,
    Document,
    Image,
    MediaOptions,
    PageMissing,
    Video,
    attachment_cache,
    digest_of,
    read_attachment,
)
from support.attachments import document, image, pdf, png, sound, video

ALL = MediaOptions()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the sources that were read, in order."""
    found, read = list[Any](), attachment_cache.read_attachment

    def noted(source: Any, options: MediaOptions) -> Any:
        found.append(source)
        return read(source, options)

    monkeypatch.setattr(attachment_cache, "read_attachment", noted)
    return found


def test_a_file_that_is_attached_again_is_not_read_again(tmp_path: Path, reads: list[Any]) -> None:
    file, kept = tmp_path / "bill.pdf", AttachmentCache()
    file.write_bytes(pdf(10, 200))
    first = kept.read(file, ALL)
    assert isinstance(first, Document)
    assert kept.read(str(file), ALL) is first
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "bill.pdf").write_bytes(file.read_bytes())
    assert kept.read(copy / "bill.pdf", ALL) is first
    assert len(reads) == 1


def test_bytes_are_kept_too(reads: list[Any]) -> None:
    kept, data = AttachmentCache(), pdf(10)
    first = kept.read(data, ALL)
    assert kept.read(bytearray(data), ALL) is first
    assert kept.read(memoryview(data), ALL) is first
    assert len(reads) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(pdf(90)),
        lambda file: file.rename(file.with_name("other.pdf")),
    ],
    ids=["content", "name"],
)
def test_a_file_that_has_changed_is_read_again(
    tmp_path: Path, reads: list[Any], change: Callable[[Path], object]
) -> None:
    file, kept = tmp_path / "bill.pdf", AttachmentCache()
    file.write_bytes(pdf(10))
    before = kept.read(file, ALL)
    change(file)
    [file] = tmp_path.iterdir()
    after = kept.read(file, ALL)
    assert isinstance(before, Document)
    assert isinstance(after, Document)
    assert (before, before.name) != (after, after.name)
    assert len(reads) == 2


def test_pages_that_were_read_are_found_in_any_order_and_number(reads: list[Any]) -> None:
    kept, data = AttachmentCache(), pdf(10, 60, 110, 160, 210)
    for pages in ("1-3", "5"):
        kept.read(data, MediaOptions(pages=pages))
    assert len(reads) == 2
    for pages, numbers in (("2", [2]), ("5,1", [5, 1]), ("1-3", [1, 2, 3]), ("5-", [5])):
        found = kept.read(data, MediaOptions(pages=pages))
        assert isinstance(found, Document)
        assert [page.number for page in found.pages] == numbers
        assert found == read_attachment(data, MediaOptions(pages=pages))
    assert len(reads) == 2
    kept.read(data, ALL)  # page 4 is missing
    kept.read(data, MediaOptions(pages="4,2"))
    assert len(reads) == 3


def test_a_page_that_is_not_there_is_the_usual_error(tmp_path: Path) -> None:
    file, kept = tmp_path / "bill.pdf", AttachmentCache()
    file.write_bytes(pdf(10, 60))
    kept.read(file, ALL)
    with pytest.raises(PageMissing, match=r"bill\.pdf has 2 pages, and no page 3"):
        kept.read(file, MediaOptions(pages="3"))


def test_other_options_and_other_salts_read_a_file_again(reads: list[Any]) -> None:
    kept, data = AttachmentCache(), pdf(10, 200)
    one, other = kept.read(data, MediaOptions(pages="1")), kept.read(data, MediaOptions(pages="2"))
    assert one != other
    assert kept.read(data, MediaOptions(pages="1"), "of another client") == one
    assert kept.read(data, MediaOptions(pages="1")) == one
    kept.read(data, MediaOptions(pages="1", max_pixels=100))
    assert len(reads) == 4


def test_open_files_and_attachments_are_passed_through(reads: list[Any]) -> None:
    kept = AttachmentCache()
    for _ in range(2):
        assert isinstance(kept.read(io.BytesIO(png()), ALL), Image)
    shown = document(1)
    assert kept.read(shown, ALL) is shown
    assert len(reads) == 3


def test_a_large_file_is_read_each_time(reads: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachment_cache, "_MOST_BYTES", 10)
    kept = AttachmentCache()
    kept.read(png(), ALL)
    kept.read(png(), ALL)
    assert len(reads) == 2


def test_a_file_that_is_written_to_while_it_is_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, kept, read = tmp_path / "a.png", AttachmentCache(), attachment_cache.read_attachment
    old, new = png(10), png(90)
    file.write_bytes(old)

    def overwritten(source: Any, options: MediaOptions) -> Any:
        file.write_bytes(new)
        return read(source, options)

    monkeypatch.setattr(attachment_cache, "read_attachment", overwritten)
    kept.read(file, ALL)
    monkeypatch.setattr(attachment_cache, "read_attachment", read)
    file.write_bytes(old)
    found = kept.read(file, ALL)
    assert isinstance(found, Image)
    assert found.data == old


def test_a_missing_file_is_the_usual_error(tmp_path: Path) -> None:
    with pytest.raises(AttachmentMissing, match="there is no file"):
        AttachmentCache().read(tmp_path / "bill.pdf", ALL)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=60))
def test_what_is_kept_stays_within_the_bytes(uses: list[tuple[int, int]]) -> None:
    sized = {side: Image(bytes(3 * side), side, 1) for side in range(1, 6)}
    kept, latest = AttachmentCache(most=30), dict[int, Image]()
    for key, side in uses:
        if kept.get(key, None) is None:
            kept.keep(key, None, sized[side])
            latest.pop(key, None)
            latest[key] = sized[side]
        found = kept.get(key, None)
        assert found == latest[key]
    held = [found for key in range(10) if isinstance(found := kept.get(key, None), Image)]
    assert sum(len(one.data) for one in held) <= 30


def test_what_is_larger_than_all_may_be_is_not_kept() -> None:
    clip = video(3, sound=sound())
    assert isinstance(clip, Video)
    size = len(clip.frames[0].image.data)
    for attachment, most in ((image(1), 10), (document(1, 2), 10), (clip, 3 * size)):
        kept = AttachmentCache(most=most)
        kept.keep("it", None, attachment)
        assert kept.get("it", None) is None
    kept = AttachmentCache(most=10)
    kept.keep("other", None, Image(bytes(3), 1, 1))
    kept.keep("it", None, image(1))
    assert kept.get("other", None) is not None


def test_the_digest_is_that_of_the_content() -> None:
    assert digest_of(b"one") == digest_of(memoryview(b"one")) != digest_of(b"other")
