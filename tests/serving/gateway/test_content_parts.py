"""Parts of messages as clients of OpenAI's and vLLM's APIs send them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.gateway.content_parts import SentMedia, file_name, read_parts
from dreamr.serving.gateway.errors import ApiError

WHERE = "messages.0"
PART = "messages.0.content.0"


def read(*parts: Any) -> list[Any]:
    return list(read_parts(list(parts), WHERE, 10))


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"type": "image_url", "image_url": "data:,x"}, SentMedia("image", PART, "data:,x")),
        (
            {"type": "video_url", "video_url": {"url": "http://a/b"}},
            SentMedia("video", f"{PART}.video_url", "http://a/b"),
        ),
        (
            {"type": "video_url", "video_url": "data:,x"},
            SentMedia("video", f"{PART}.video_url", "data:,x"),
        ),
        (
            {"type": "audio_url", "audio_url": {"url": "data:,x"}},
            SentMedia("sound", f"{PART}.audio_url", "data:,x"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            SentMedia("sound", f"{PART}.input_audio.data", base64="AAAA"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "data:audio/webm;base64,AA"}},
            SentMedia("sound", f"{PART}.input_audio.data", "data:audio/webm;base64,AA"),
        ),
        (
            {"type": "file", "file": {"filename": "bill.pdf", "file_data": "AAAA"}},
            SentMedia("file", f"{PART}.file.file_data", base64="AAAA", name="bill.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
            SentMedia("file", f"{PART}.file.file_data", "data:application/pdf;base64,AAAA"),
        ),
        (
            {"type": "file", "file": {"file_id": "file-1"}},
            SentMedia("file", f"{PART}.file.file_id", file_id="file-1"),
        ),
    ],
)  # fmt: skip
def test_each_kind_of_part_is_read_with_the_name_of_its_field(part: Any, found: SentMedia) -> None:
    assert read(part, {"type": "text", "text": "What?"}) == [found, "What?"]


@pytest.mark.parametrize(
    ("part", "param", "message"),
    [
        ({"type": "file", "file": {}}, f"{PART}.file", "needs file_data or file_id"),
        (
            {"type": "file", "file": {"file_data": "A", "file_id": "f"}},
            f"{PART}.file",
            "and not both",
        ),
        ({"type": "file"}, f"{PART}.file", "is required"),
        ({"type": "input_audio", "input_audio": {}}, f"{PART}.input_audio.data", "is required"),
        ({"type": "video_url", "video_url": 3}, f"{PART}.video_url", "must be"),
        ({"type": "input_image"}, PART, "use text, image_url, video_url, input_audio or file"),
    ],
)
def test_a_part_that_is_not_valid_is_refused_with_the_name_of_its_field(
    part: Any, param: str, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        read(part)
    assert caught.value.param == param


def test_a_file_name_is_shown_in_one_short_line() -> None:
    assert file_name("../../etc/pass\nwd.pdf") == ".. .. etc pass wd.pdf"
    assert file_name("") is file_name(None) is file_name("\n/") is None


@given(st.text(max_size=2000))
def test_any_file_name_becomes_printable(name: str) -> None:
    found = file_name(name)
    assert found is None or (0 < len(found) <= 100 and "\n" not in found and "/" not in found)
    if found is not None:
        found.encode()
