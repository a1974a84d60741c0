from __future__ import annotations

import io
import os
import warnings
import zlib
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.conversation import (
    AttachmentEmpty,
    AttachmentMissing,
    AttachmentNotAFile,
    AttachmentTooLarge,
    AttachmentUnreadable,
    Image,
    ImageColorsUnknown,
    ImageDamaged,
    ImageTooManyPixels,
    NotAnImage,
    read_image,
    thumbnail,
)
from dreamr.errors import ConversationError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(pillow: PIL.Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow.save(buffer, format, **options)
    return buffer.getvalue()


def pixel(image: Image, x: int, y: int) -> tuple[int, ...]:
    start = (y * image.width + x) * 3
    return tuple(image.pixels[start : start + 3])


def two_pixels(first: object = RED, second: object = BLUE, mode: str = "RGB") -> PIL.Image.Image:
    pillow = PIL.Image.new(mode, (2, 1))
    pillow.putpixel((0, 0), first)
    pillow.putpixel((1, 0), second)
    return pillow


def test_the_same_image_comes_from_a_path_bytes_and_pillow(tmp_path: Path) -> None:
    data = encoded(two_pixels())
    path = tmp_path / "pair.png"
    path.write_bytes(data)
    images = [read_image(s) for s in (path, str(path), data, two_pixels())]
    assert {(one.pixels, one.width, one.height) for one in images} == {(bytes(RED + BLUE), 2, 1)}
    assert len({*images[:3]}) == 1  # of one file
    assert [image.name for image in images] == ["pair.png", "pair.png", None, None]


def test_an_image_passes_through_but_the_bound_holds_for_it() -> None:
    image = read_image(two_pixels())
    assert read_image(image) is image
    with pytest.raises(ImageTooManyPixels):
        read_image(image, max_pixels=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    upright = PIL.Image.new("RGB", (2, 3), WHITE)
    upright.putpixel((0, 0), RED)
    upright.putpixel((1, 0), BLUE)
    # What the sensor stored is the inverse of the turn that the tag asks for.
    turns = PIL.Image.Transpose
    stored_by = [
        None,
        turns.FLIP_LEFT_RIGHT,
        turns.ROTATE_180,
        turns.FLIP_TOP_BOTTOM,
        turns.TRANSPOSE,
        turns.ROTATE_90,
        turns.TRANSVERSE,
        turns.ROTATE_270,
    ][orientation - 1]
    stored = upright if stored_by is None else upright.transpose(stored_by)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(stored, exif=exif))
    assert (image.width, image.height) == (2, 3)
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == (RED, BLUE)


def test_a_nonsense_orientation_is_ignored() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 77
    assert pixel(read_image(encoded(two_pixels(), exif=exif)), 0, 0) == RED


def test_an_image_with_corrupt_exif_is_read() -> None:
    data = encoded(two_pixels(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xffgarbage")
    assert pixel(read_image(data), 0, 0) == RED


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_read(format: str) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert pixel(read_image(data), 0, 0) == RED


def test_alpha_is_laid_over_white() -> None:
    pillow = two_pixels((255, 0, 0, 0), (0, 0, 0, 51), "RGBA")
    image = read_image(encoded(pillow))
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == (WHITE, (204, 204, 204))


def test_a_transparent_palette_entry_is_laid_over_white() -> None:
    pillow = PIL.Image.new("P", (2, 1))
    pillow.putpalette([255, 0, 0, 0, 0, 255])
    pillow.putpixel((1, 0), 1)
    image = read_image(encoded(pillow, transparency=0))
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == (WHITE, BLUE)


def test_sixteen_bit_gray_keeps_its_shades() -> None:
    pillow = two_pixels(257 * 100, 65535, "I;16")
    image = read_image(encoded(pillow))
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == ((100,) * 3, WHITE)


@pytest.mark.parametrize(("mode", "values"), [("I", (-5, 95)), ("F", (0.25, 0.75))])
def test_grays_without_a_range_are_stretched(mode: str, values: tuple[float, float]) -> None:
    image = read_image(encoded(two_pixels(*values, mode), "TIFF"))
    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == ((0, 0, 0), WHITE)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr", "RGBX", "PA", "RGBa"])
def test_every_other_mode_becomes_rgb(mode: str) -> None:
    white = PIL.Image.new("RGBA" if mode == "RGBa" else "RGB", (3, 2), "white").convert(mode)
    image = read_image(white)
    assert (image.width, image.height, pixel(image, 2, 1)) == (3, 2, WHITE)


def test_cmyk_jpeg_keeps_its_colors() -> None:
    pillow = PIL.Image.new("RGB", (16, 16), RED).convert("CMYK")
    red, green, blue = pixel(read_image(encoded(pillow, "JPEG", quality=95)), 3, 3)
    assert red > 240
    assert max(green, blue) < 20


def test_a_color_space_without_a_way_to_rgb_is_named() -> None:
    with pytest.raises(ImageColorsUnknown, match="La"):
        read_image(PIL.Image.new("La", (1, 1)))


def test_a_pillow_image_is_left_as_it_was() -> None:
    pillow = two_pixels((255, 0, 0, 0), (0, 0, 0, 51), "RGBA")
    before = pillow.tobytes()
    read_image(pillow)
    assert (pillow.mode, pillow.tobytes()) == ("RGBA", before)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AttachmentMissing, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(AttachmentMissing):
        read_image("with\0nul.png")
    with pytest.raises(AttachmentMissing, match="download"):
        read_image("https://example.org/receipt.png")


def test_directories_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AttachmentNotAFile, match="directory"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AttachmentNotAFile):
        read_image(tmp_path / "pipe")


def test_a_file_that_the_system_refuses_is_unreadable(tmp_path: Path) -> None:
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(AttachmentUnreadable, match=r"loop\.png"):
        read_image(loop)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(AttachmentEmpty, match=r"empty\.png"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(AttachmentEmpty):
        read_image(b"")


def test_a_text_file_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("tea 2.50\n")
    with pytest.raises(NotAnImage, match="PNG"):
        read_image(tmp_path / "notes.png")


def test_formats_that_start_other_programs_are_not_tried() -> None:
    with pytest.raises(NotAnImage):
        read_image(encoded(PIL.Image.new("RGB", (4, 4)), "EPS"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_truncated_file_is_damaged(format: str) -> None:
    noise = PIL.Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    data = encoded(noise, format)
    with pytest.raises((ImageDamaged, NotAnImage)) as caught:
        read_image(data[: len(data) * 2 // 3])
    if format in ("PNG", "JPEG", "BMP", "GIF"):  # the others keep their tables at the end
        assert caught.type is ImageDamaged


def test_a_huge_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(AttachmentTooLarge, match="8,589,934,592"):
        read_image(path)


def test_the_pixel_bound_is_checked_before_decoding() -> None:
    data = encoded(PIL.Image.new("RGB", (300, 200)))
    header_only = data[:60]  # decoding it would be an ImageDamaged
    with pytest.raises(ImageTooManyPixels, match="300 x 200"):
        read_image(header_only, max_pixels=59_999)
    assert read_image(data, max_pixels=60_000).width == 300


@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_decompression_bomb_is_refused_without_a_warning(side: int) -> None:
    small = bytearray(encoded(PIL.Image.new("1", (8, 8))))
    small[16:24] = side.to_bytes(4, "big") * 2
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooManyPixels):
            read_image(bytes(small))


def test_a_thumbnail_keeps_the_shape_and_never_grows() -> None:
    assert read_image(thumbnail(read_image(two_pixels()))).pixels == bytes(RED + BLUE)
    large = read_image(PIL.Image.new("RGB", (300, 100), RED))
    small = read_image(thumbnail(large, side=60))
    assert (small.width, small.height, pixel(small, 30, 10)) == (60, 20, RED)


SEEDS = [
    encoded(two_pixels().resize((9, 9)), format)
    for format in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_conversation_errors(data: bytes) -> None:
    read_or_refuse(data)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SEEDS), st.data())
def test_flipped_bytes_raise_nothing_but_conversation_errors(
    seed: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(damaged[: data.draw(st.integers(1, len(seed)))]))


def read_or_refuse(data: bytes) -> None:
    try:
        image = read_image(data, max_pixels=1_000_000)
    except ConversationError as error:
        message = str(error)
    else:
        message = ""
        assert len(image.pixels) == image.width * image.height * 3
    assert "\n" not in message


def test_a_data_uri_given_as_a_path_is_refused_in_a_short_line() -> None:
    text = "data:image/png;base64," + "iVBORw0KGgo" * 1000
    for path in (text, Path(text)):
        with pytest.raises(AttachmentMissing) as found:
            read_image(path)
        assert str(found.value) == (
            "data:image/png;base64,... is not a path: save the data as a file"
        )


def test_a_long_path_is_shortened_in_messages() -> None:
    for path in ("a/" * 1000 + "photo.png", "b" * 5000):
        with pytest.raises(ConversationError) as found:
            read_image(path)
        assert len(str(found.value)) < 250
