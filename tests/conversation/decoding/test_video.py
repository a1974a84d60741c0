from __future__ import annotations

from typing import Any

import pytest
from PIL import ImageStat

from dreamr.conversation import (
    AttachmentError,
    Audio,
    MediaOptions,
    TooManyFrames,
    Video,
    VideoDamaged,
    read_attachment,
    to_pillow,
)
from support.media_files import clip, rotated, shade


def read(data: bytes, **options: Any) -> Video:
    found = read_attachment(data, MediaOptions(**options), name="clip.mp4")
    assert isinstance(found, Video)
    return found


def grays(video: Video) -> list[int]:
    """The gray of the right half of each frame."""
    found = []
    for frame in video.frames:
        image = to_pillow(frame.image).convert("L")
        found.append(image.getpixel((image.width * 3 // 4, image.height // 2)))
    return found


def times(video: Video) -> list[float]:
    return [round(frame.seconds, 3) for frame in video.frames]


def assert_shows(video: Video, indices: list[int]) -> None:
    assert grays(video) == pytest.approx([shade(index) for index in indices], abs=3)


FORMATS = [
    ("mp4", "libx264"), ("matroska", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"),
    ("mpegts", "mpeg2video"), ("mov", "libx265"), ("flv", "flv1"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_the_frames_of_a_format_are_those_of_their_times(container: str, codec: str) -> None:
    found = read(clip(29, rate=25, container=container, codec=codec, size=(128, 96)), frames=5)
    assert times(found) == pytest.approx([0, 0.28, 0.56, 0.84, 1.12], abs=0.011)
    assert_shows(found, [0, 7, 14, 21, 28])
    assert found.seconds == pytest.approx(29 / 25, abs=0.02)
    assert found.sound is None


def test_frames_by_number_and_by_rate() -> None:
    data = clip(31, rate=10)  # three seconds, and one frame more
    assert times(read(data, frames=4)) == [0, 1, 2, 3]
    assert times(read(data, frames=1)) == [1.5]
    assert times(read(data, fps=1)) == [0, 1, 2, 3]
    assert times(read(data, fps=0.5)) == [0, 2]
    assert len(read(data, fps=100).frames) == 31
    assert_shows(read(data, fps=2), [0, 5, 10, 15, 20, 25, 30])


def test_more_frames_than_there_are_gives_all() -> None:
    found = read(clip(3), frames=8)
    assert times(found) == [0, 0.1, 0.2]
    assert_shows(found, [0, 1, 2])


def test_a_clip_of_one_frame() -> None:
    found = read(clip(1), frames=8)
    assert (times(found), found.seconds) == ([0], 0)
    assert_shows(found, [0])


def test_one_key_frame_for_the_whole_video() -> None:
    found = read(clip(61, group=1000), frames=3)
    assert_shows(found, [0, 30, 60])


def test_frames_at_uneven_times_have_their_own_times() -> None:
    found = read(clip(10, rate=10, stamps=lambda k: k if k < 5 else k + 50), frames=3)
    assert times(found)[0] == 0
    assert times(found)[-1] == pytest.approx(5.9, abs=0.01)


def test_more_frames_than_a_conversation_holds_are_refused() -> None:
    with pytest.raises(TooManyFrames, match=r"clip\.mp4 lasts 0:29\.9.*choose fewer"):
        read(clip(300, size=(16, 16)), fps=10)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_frames_are_upright(quarters: int) -> None:
    found = read(rotated(clip(2, gray=lambda _: 200), quarters), frames=1).frames[0].image
    assert (found.width, found.height) == ((64, 48) if quarters % 2 == 0 else (48, 64))
    image = to_pillow(found).convert("L")
    wide, high = image.size
    strips = {
        "left": (0, 0, 8, high),
        "top": (0, 0, wide, 8),
        "right": (wide - 8, 0, wide, high),
        "bottom": (0, high - 8, wide, high),
    }
    sides = {side: ImageStat.Stat(image.crop(box)).mean[0] for side, box in strips.items()}
    dark = min(sides, key=lambda side: sides[side])
    assert dark == ("left", "top", "right", "bottom")[quarters]


def test_frames_are_within_the_number_of_pixels() -> None:
    image = read(clip(2, size=(640, 480)), frames=1, max_pixels=1200).frames[0].image
    assert (image.width, image.height) == (40, 30)
    assert (image.format, image.lossy) == ("JPEG", True)


def test_the_sound_of_a_video_is_read_with_it() -> None:
    data = clip(20, sound=2.0)
    found = read(data)
    assert found.sound is not None
    assert found.sound.seconds == pytest.approx(2, abs=0.1)
    assert not found.sound.is_silent
    assert read(data, sound=False).sound is None
    assert read(data, sound=False).frames == found.frames


def test_scenes_are_the_frames_after_the_changes() -> None:
    data = clip(40, gray=lambda k: 40 if k < 12 else 220 if k < 31 else 110)
    found = read(data, frames=3, frames_by="scenes")
    assert times(found)[0] == 0
    assert grays(found) == pytest.approx([40, 220, 110], abs=4)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_cut_file_gives_frames_at_their_true_times_or_is_damaged(
    container: str, part: float
) -> None:
    codec = "mpeg4" if container == "avi" else "libx264"
    data = clip(60, container=container, codec=codec, size=(160, 120))
    try:
        found = read(data[: int(len(data) * part)], frames=4)
    except VideoDamaged:
        return
    assert found.seconds <= 6.1
    assert grays(found) == pytest.approx(
        [shade(round(frame.seconds * 10)) for frame in found.frames], abs=30
    )


def test_a_container_with_sound_alone_is_sound() -> None:
    from support.media_files import sound_file

    for container, codec in (("mp4", "aac"), ("matroska", "libopus")):
        assert isinstance(read_attachment(sound_file(container, codec, 0.5)), Audio)


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI "])
def test_a_head_without_a_file_is_damaged(head: bytes) -> None:
    for data in (head, head + bytes(5000), head + b"\xff" * 5000):
        with pytest.raises(AttachmentError, match=r"clip\.mp4"):
            read(data)


def test_a_number_of_frames_that_lies_allocates_nothing() -> None:
    data = bytearray(clip(5))
    place = data.index(b"stts") + 12  # count of the first entry
    data[place : place + 4] = b"\x3b\x9a\xca\x00"
    place = data.index(b"stsz") + 12
    data[place : place + 4] = b"\x3b\x9a\xca\x00"
    try:
        count, message = len(read(bytes(data)).frames), "clip.mp4"
    except AttachmentError as error:
        count, message = 0, str(error)
    assert count <= 8
    assert "clip.mp4" in message
