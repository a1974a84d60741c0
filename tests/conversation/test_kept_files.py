"""Files of images that are kept as they are, and those of which only the pixels are."""

from __future__ import annotations

import io
import pickle
from typing import Any

import PIL.Image
import pytest

from dreamr.conversation import Conversation, Image, as_file, fitting_size, read_image, to_pillow

NOISE = PIL.Image.effect_noise((90, 60), 80).convert("RGB")
UPSIDE_DOWN = 3


def file(pillow: PIL.Image.Image, kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    pillow.save(buffer, kind, **more)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    values = PIL.Image.Exif()
    values[0x0112] = orientation
    return values.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_upright_rgb_file_is_kept_byte_for_byte(kind: str) -> None:
    data = file(NOISE, kind, exif=exif(1))
    image = read_image(data)
    assert (image.data, image.format, image.width, image.height) == (data, kind, 90, 60)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert image.pixels == opened.convert("RGB").tobytes()
    assert image.lossy == (kind != "PNG")
    assert as_file(image) is image


@pytest.mark.parametrize(
    "data",
    [
        file(NOISE, "JPEG", exif=exif(UPSIDE_DOWN)),
        file(NOISE, "PNG", exif=exif(UPSIDE_DOWN)),
        file(NOISE, "WEBP", exif=exif(UPSIDE_DOWN)),
        file(NOISE.convert("L"), "JPEG"),
        file(NOISE.convert("CMYK"), "JPEG"),
        file(NOISE.convert("RGBA"), "PNG"),
        file(NOISE.convert("P"), "PNG"),
        file(NOISE, "PNG", transparency=(0, 0, 0)),
        file(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(180)]),
        file(NOISE, "GIF"),
        file(NOISE, "BMP"),
        file(NOISE, "TIFF"),
        file(NOISE, "JPEG") + bytes(2**20),  # cameras append films
    ],
)
def test_a_file_in_which_something_has_to_change_becomes_pixels(data: bytes) -> None:
    image = read_image(data)
    assert image.format == "RGB"
    assert image.data == image.pixels
    again = read_image(as_file(image).data)  # now one that is kept
    assert (again.width, again.height) == (image.width, image.height)
    assert again.format in ("JPEG", "PNG")


def test_a_photograph_with_several_images_is_kept_as_jpeg() -> None:
    data = file(NOISE, "MPO", save_all=True, append_images=[NOISE.rotate(180)])
    image = read_image(data)
    assert (image.format, image.data) == ("JPEG", data)
    assert to_pillow(image).tobytes() == image.pixels


def test_images_of_the_same_data_are_equal_and_have_one_digest() -> None:
    data = file(NOISE, "PNG")
    one, other = read_image(data), read_image(bytes(bytearray(data)))
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest == pickle.loads(pickle.dumps(one)).digest
    pixels = Image(NOISE.tobytes(), 90, 60)
    assert pixels.digest != one.digest
    assert Image(NOISE.tobytes(), 60, 90).digest != pixels.digest
    assert {Conversation.from_prompt("?", one)} == {Conversation.from_prompt("?", other)}


def test_pixels_from_a_lossless_source_keep_their_values_as_a_file() -> None:
    image = read_image(NOISE)
    png = as_file(image)
    assert (png.format, png.pixels) == ("PNG", image.pixels)
    assert as_file(image) == png


def test_pixels_from_a_photograph_become_jpeg_again() -> None:
    turned = read_image(file(NOISE, "JPEG", exif=exif(UPSIDE_DOWN)))
    jpeg = as_file(turned)
    assert (jpeg.format, jpeg.lossy) == ("JPEG", True)
    assert len(jpeg.data) < len(as_file(Image(turned.data, 90, 60)).data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_large_file_is_shrunk_in_its_own_way(kind: str) -> None:
    large = read_image(file(NOISE.resize((900, 600)), kind))
    small = as_file(large, 20_000)
    assert (small.width, small.height) == fitting_size(900, 600, 20_000)
    assert small.format == ("PNG" if kind == "PNG" else "JPEG")
    assert to_pillow(small).size == (small.width, small.height)
    assert as_file(small, 20_000) is small  # once


def test_a_format_that_a_receiver_cannot_read_is_converted() -> None:
    image = read_image(file(NOISE, "WEBP"))
    converted = as_file(image, formats=("JPEG", "PNG"))
    assert converted.format == "JPEG"
    assert converted.width == 90


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"exif": exif(UPSIDE_DOWN)},  # changed, so that only pixels are kept
        {"exif": exif(1), "icc_profile": b"profile"},
        {"save_all": True, "append_images": [NOISE.rotate(180)]},
    ],
)
def test_a_lossless_webp_is_converted_without_loss(more: dict[str, Any]) -> None:
    data = file(NOISE, "WEBP", lossless=True, **more)
    image = read_image(data)
    converted = as_file(image, formats=("JPEG", "PNG"))
    assert converted.format == "PNG"
    upright = NOISE.rotate(180) if more.get("exif") == exif(UPSIDE_DOWN) else NOISE
    assert converted.pixels == upright.tobytes()
    assert not read_image(data, fit=2000).lossy
