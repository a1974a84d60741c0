from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import PIL.Image
import pytest

from dreamr.conversation import (
    AttachmentEmpty,
    AttachmentError,
    AttachmentMissing,
    AttachmentNotAFile,
    AttachmentTooLarge,
    AttachmentUnreadable,
    Audio,
    Document,
    Image,
    MediaOptions,
    NotAnAttachment,
    Video,
    VideoFile,
    attachments,
    read_attachment,
    read_attachment_isolated,
)
from support.media_files import clip, pdf, text_on_page, tone


def png() -> bytes:
    output = io.BytesIO()
    PIL.Image.new("RGB", (3, 2), "red").save(output, "PNG")
    return output.getvalue()


FILES = {
    "image": (png(), Image), "document": (pdf(text_on_page("Total")), Document),
    "sound": (tone(0.5), Audio),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*FILES, "video"])
@pytest.mark.parametrize("suffix", ["png", "pdf", "txt"])
def test_the_content_decides_the_kind_and_not_the_name(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    data, expected = FILES.get(kind) or (clip(2), Video)
    path = tmp_path / f"thing.{suffix}"
    path.write_bytes(data)
    found = read_attachment(path)
    assert isinstance(found, expected)
    assert found.name == path.name
    assert read_attachment(str(path)) == read_attachment(data) == found
    with path.open("rb") as file:
        assert read_attachment(file) == found
    assert read_attachment(bytearray(data), name="other").name == "other"
    assert read_attachment(found) is found


@pytest.mark.parametrize("kind", FILES)
def test_reading_from_a_task_gives_the_same(kind: str) -> None:
    data, _ = FILES[kind]

    async def main() -> Any:
        return await read_attachment_isolated(data, name="thing")

    found = anyio.run(main)
    assert found == read_attachment(data)
    assert found.name == "thing"


def test_pixels_and_images_of_pillow_are_images() -> None:
    assert isinstance(read_attachment(np.zeros((2, 3, 3), np.uint8)), Image)
    assert read_attachment(PIL.Image.new("RGB", (3, 2)), name="a.png").name == "a.png"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(AttachmentMissing, match=r"there is no file .*gone\.pdf: check the path"):
        read_attachment(tmp_path / "gone.pdf")
    with pytest.raises(
        AttachmentMissing, match=r"https://example\.org/bill\.pdf: download it first"
    ):
        read_attachment(Path("https://example.org/bill.pdf"))
    with pytest.raises(AttachmentNotAFile, match="is a directory"):
        read_attachment(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AttachmentNotAFile, match="not a regular file"):
        read_attachment(tmp_path / "pipe")
    (tmp_path / "loop.pdf").symlink_to(tmp_path / "loop.pdf")
    with pytest.raises(AttachmentUnreadable, match=r"loop\.pdf"):
        read_attachment(tmp_path / "loop.pdf")
    (tmp_path / "empty.pdf").touch()
    with pytest.raises(AttachmentEmpty, match=r"empty\.pdf is empty"):
        read_attachment(tmp_path / "empty.pdf")
    with pytest.raises(AttachmentEmpty, match="the file is empty"):
        read_attachment(b"")


@pytest.mark.parametrize(
    ("head", "size"), [(b"%PDF-1.7\n", 2**28 + 1), (b"\0\0\0\x18ftypisom", 2**31 + 1)]
)
def test_a_huge_file_is_refused_by_its_size_alone(head: bytes, size: int, tmp_path: Path) -> None:
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    with pytest.raises(AttachmentTooLarge, match=rf"huge\.bin has {size:,} bytes, more than"):
        read_attachment(path)


@pytest.mark.parametrize("source", [None, 5, object(), io.StringIO("text")])
def test_what_is_not_a_source_is_refused_by_its_type(source: Any) -> None:
    with pytest.raises(AttachmentError) as found:
        read_attachment(source)
    assert "\n" not in str(found.value)
    assert "object at 0x" not in str(found.value)


def test_an_unknown_file_lists_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "bill.pdf").write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(NotAnAttachment, match=r"bill\.pdf is not of a known kind: accepted are"):
        read_attachment(tmp_path / "bill.pdf")


def test_a_long_name_is_shortened_and_printable_in_messages() -> None:
    with pytest.raises(AttachmentError) as found:
        read_attachment(b"%PDF-1.7 nothing", name="a\x1b[31m\n" * 500)
    assert str(found.value).isprintable()
    assert len(str(found.value)) < 250


def test_the_file_of_a_video_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    data, keep = clip(), MediaOptions(frames=2, keep_file=True)
    path = tmp_path / "door.mp4"
    path.write_bytes(data)
    whole = VideoFile(data, "video/mp4")
    isolated = anyio.run(lambda: read_attachment_isolated(data, keep, name="door.mp4"))
    for found in (read_attachment(path, keep), read_attachment(data, keep), isolated):
        assert isinstance(found, Video)
        assert found.file == whole
        assert found.file.media_type == "video/mp4"
        assert len(found.frames) == 2
    without = read_attachment(path)
    assert isinstance(without, Video)
    assert without.file is None
    assert isinstance(read_attachment(tone(0.5), keep), Audio)


def test_a_video_that_is_too_large_to_be_sent_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_SENT_BYTES", 100)
    path = tmp_path / "door.mp4"
    path.write_bytes(clip())
    with pytest.raises(AttachmentTooLarge, match=r"door\.mp4 has more than 100 bytes"):
        read_attachment(path, MediaOptions(keep_file=True))
    assert isinstance(read_attachment(path), Video)
