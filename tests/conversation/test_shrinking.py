from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Image, fitting_size, read_header, read_image
from dreamr.conversation.errors import ImageTooManyPixels

SIDES = st.integers(1, 5000)


def file(pillow: PIL.Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    pillow.save(buffer, kind, **more)
    return buffer.getvalue()


def pixels(image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width, 3)


@given(SIDES, SIDES, st.integers(1, 10**6))
def test_a_fitting_size_is_within_the_bound_and_keeps_proportions(
    width: int, height: int, most: int
) -> None:
    wide, high = fitting_size(width, height, most)
    assert 1 <= wide <= width
    assert 1 <= high <= height
    assert wide * high <= most or (width, height) == (wide, high)
    if width * height <= most:
        assert (wide, high) == (width, height)
    elif min(wide, high) > 1:
        assert wide - 1 <= width * (high + 1) / height
        assert high - 1 <= height * (wide + 1) / width


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"])
def test_every_mode_is_shrunk_to_the_colors_that_it_has_in_full_size(mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 900), (700, 1)).astype(np.uint8)
    gray = PIL.Image.fromarray(ramp)
    if mode == "1":
        pillow = gray.point(lambda value: 255 * (value > 127)).convert("1")
    elif mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        pillow = PIL.Image.fromarray(ramp.astype(kind) * (257 if mode == "I;16" else 1))
    else:
        pillow = gray.convert("RGB").convert(mode)
    data = file(pillow, "TIFF")
    small, whole = read_image(data, fit=50_000), read_image(data)
    assert small.width * small.height <= 50_000
    assert abs(small.width / small.height - 9 / 7) < 0.02
    resized = PIL.Image.fromarray(pixels(whole)).resize((small.width, small.height))
    difference = np.abs(np.asarray(resized, float) - pixels(small))
    assert np.median(difference) <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_shrunk_image_is_upright(kind: str) -> None:
    pillow = PIL.Image.new("RGB", (400, 200), "white")
    pillow.paste("black", (0, 0, 200, 200))  # the left half, which turns to the top
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = read_image(file(pillow, kind, exif=exif.tobytes()), fit=5000)
    assert (image.width, image.height) == (50, 100)
    assert pixels(image)[:40].mean() < 20
    assert pixels(image)[60:].mean() > 235


def test_an_image_that_fits_is_not_changed() -> None:
    data = file(PIL.Image.effect_noise((60, 50), 90).convert("RGB"))
    assert read_image(data, fit=3000) == read_image(data)


def test_a_pillow_image_of_the_caller_is_not_changed() -> None:
    opened = PIL.Image.open(io.BytesIO(file(PIL.Image.new("RGB", (400, 300)), "JPEG")))
    read_image(opened, fit=100)
    assert opened.size == (400, 300)


def test_the_header_gives_format_and_size_without_decoding() -> None:
    data = file(PIL.Image.new("RGB", (400, 300)), "JPEG")
    header = read_header(data[: len(data) // 2])  # the pixels are cut off
    assert (header.format, header.width, header.height) == ("JPEG", 400, 300)
    with pytest.raises(ImageTooManyPixels):
        read_header(data, max_pixels=1000)
