from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import NotAnAttachment, kind_of
from support.media_files import pdf, tone

BOX = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize(
    ("head", "name", "container"),
    [
        (b"\x89PNG\r\n\x1a\n", "image", ""), (b"\xff\xd8\xff\xe0", "image", ""),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image", ""), (BOX + b"avif", "image", ""),
        (BOX + b"heic", "image", ""), (b"II*\0", "image", ""),
        (pdf(b""), "pdf", ""), (b"\xef\xbb\xbf\n%PDF-1.4", "pdf", ""),
        (BOX + b"isom", "media", "mov"), (BOX + b"M4A ", "media", "mov"),
        (b"\0\0\x10\0mdat", "media", "mov"), (b"\x1a\x45\xdf\xa3", "media", "matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "media", "avi"), (tone(0.1), "media", "wav"),
        (b"OggS\0", "media", "ogg"), (b"fLaC\0", "media", "flac"), (b"ID3\x04", "media", "mp3"),
        (b"\xff\xfb\x90\x00", "media", "mp3"), (b"\xff\xf3\x40\xc0", "media", "mp3"),
        (b"\xff\xf1\x50\x80", "media", "aac"), (b"\0\0\x01\xba", "media", "mpeg"),
        (b"\x47" + bytes(187) + b"\x47", "media", "mpegts"),
        (b"FORM\0\0\0\0AIFC", "media", "aiff"),
    ],
)  # fmt: skip
def test_the_first_bytes_decide(head: bytes, name: str, container: str) -> None:
    kind = kind_of(head, "the file")
    assert (kind.name, kind.container) == (name, container)


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\0", b"MZ\x90\0", b"PK\x03\x04", b"\x7fELF", b"\xff\xff\xff\xff",
        b"RIFF\0\0\0\0ACON",
        b"#EXTM3U\n", b"ffconcat version 1.0\nfile '/etc/passwd'\n", b"x",
    ],
)  # fmt: skip
def test_other_files_are_refused_with_what_is_accepted(head: bytes) -> None:
    with pytest.raises(NotAnAttachment, match=r"PNG.*PDF.*MP4.*WAV") as found:
        kind_of(head, "thing.bin")
    assert str(found.value).startswith("thing.bin is ")


def test_a_text_belongs_into_the_question() -> None:
    marked = ("the free lunch", "the wide road", "BMW 3", "ID3 tags", "#!AMR", "GIF87 or GIF89")
    for text in ("Tea 2.50\nMilk 1.20\n", "Grüße " * 2000, *marked):
        with pytest.raises(NotAnAttachment, match=r"notes\.txt is text.*question"):
            kind_of(text.encode()[:4096], "notes.txt")


@given(st.binary(max_size=64))
def test_any_bytes_have_a_kind_or_an_error_of_ours(head: bytes) -> None:
    try:
        found = kind_of(head, "it").name
    except NotAnAttachment as error:
        found = str(error)
    assert found in ("image", "pdf", "media") or found.startswith("it is ")
    assert "\n" not in found
