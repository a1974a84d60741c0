"""Images come in every form in which Python programs hold them; anything else is one line."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from dreamr.conversation import AttachmentEmpty, AttachmentUnreadable, Image, NotAnImage, read_image
from dreamr.errors import ConversationError

PIXELS = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)  # red, blue
EXPECTED = Image(PIXELS.tobytes(), 2, 1)


def png() -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


class Tensor:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return PIXELS


TAKEN = {
    "bytes": png,
    "a bytearray": lambda: bytearray(png()),
    "a memory view": lambda: memoryview(png()),
    "a file in memory": lambda: io.BytesIO(png()),
    "a buffered file": lambda: io.BufferedReader(io.BytesIO(png())),
    "an array": lambda: PIXELS,
    "an array that is not contiguous": lambda: PIXELS[:, ::-1][:, ::-1],
    "an array of larger integers": lambda: PIXELS.astype(np.int64),
    "an array of numbers from 0 to 1": lambda: PIXELS / 255,
    "an array with alpha": lambda: np.dstack([PIXELS, np.full((1, 2), 255, np.uint8)]),
    "an array of another library": Tensor,
    "a Pillow image": lambda: PIL.Image.fromarray(PIXELS),
    "an image": lambda: EXPECTED,
}


@pytest.mark.parametrize("made", TAKEN.values(), ids=TAKEN.keys())
def test_the_same_image_comes_from_all_forms(made: Any) -> None:
    image = read_image(made())
    assert (image.pixels, image.width, image.height) == (EXPECTED.pixels, 2, 1)


def test_an_open_file_is_read_and_stays_open() -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(png())
        file.seek(0)
        assert read_image(file).pixels == EXPECTED.pixels
        assert not file.closed


@pytest.mark.parametrize(
    ("grays", "expected"),
    [
        (np.array([[0, 255]], np.uint8), (0, 255)),
        (np.array([[False, True]]), (0, 255)),
        (np.array([[[0], [255]]], np.uint8), (0, 255)),
        (np.array([[0, 65535]], np.uint16), (0, 255)),
        (np.array([[-1.5, 7.25]]), (0, 255)),
        (np.array([[-3, 900]], np.int64), (0, 255)),
    ],
)
def test_arrays_without_colors_are_grays(
    grays: np.ndarray[Any, Any], expected: tuple[int, int]
) -> None:
    dark, light = expected
    assert read_image(grays) == Image(bytes([dark] * 3 + [light] * 3), 2, 1)


NUMBERS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, -2.5, 1e30, -1e30])


@given(
    values=st.lists(NUMBERS, min_size=1, max_size=8), infinite=st.sampled_from([math.nan, math.inf])
)
def test_pixels_that_are_no_numbers_do_not_change_the_others(
    values: list[float], infinite: float
) -> None:
    finite = [value for value in values if math.isfinite(value)]
    image = read_image(np.array([values], np.float32))
    without = read_image(np.array([finite], np.float32)) if finite else None
    shown = [image.pixels[3 * place] for place in range(len(values))]
    kept = [gray for gray, value in zip(shown, values, strict=True) if math.isfinite(value)]
    assert kept == ([] if without is None else list(without.pixels[::3]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_pixel_of_a_file_leaves_the_image_readable(bad: float) -> None:
    values = np.linspace(0, 1, 2400).reshape(40, 60).astype(np.float32)
    values[0, 0] = bad
    file = io.BytesIO()
    PIL.Image.fromarray(values).save(file, "TIFF")
    grays = np.frombuffer(read_image(file.getvalue()).pixels, np.uint8)
    assert (grays.min(), grays.max()) == (0, 255)
    assert abs(int(grays.astype(int).mean()) - 127) < 3


def closed() -> io.BytesIO:
    file = io.BytesIO(png())
    file.close()
    return file


OTHERS: dict[str, tuple[Any, type[ConversationError], str]] = {
    "nothing": (lambda: None, NotAnImage, "cannot read an image from None: pass a path, bytes"),
    "a number": (lambda: 3, NotAnImage, "from a value of type int: pass a path"),
    "a list": (lambda: ["a.png"], NotAnImage, "from a value of type list: pass a path"),
    "a dictionary": (dict, NotAnImage, "from a value of type dict: pass a path"),
    "a class": (lambda: Path, NotAnImage, "from a value of type type: pass a path"),
    "a text file": (lambda: io.StringIO("a"), NotAnImage, "open it in binary mode"),
    "a file at its end": (lambda: io.BytesIO(b""), AttachmentEmpty, "the open file is empty"),
    "a closed file": (closed, AttachmentUnreadable, "cannot read the open file"),
    "an array with its channels first": (
        lambda: np.zeros((3, 40, 50), np.uint8),
        NotAnImage,
        "an array of shape (3, 40, 50) is not an image: pass height x width",
    ),
    "an empty array": (lambda: np.zeros((0, 3), np.uint8), NotAnImage, "the array has no pixels"),
    "an array of text": (lambda: np.array([["a"]]), NotAnImage, "an array of type <U1"),
    "colors above 255": (lambda: np.full((1, 1, 3), 256), NotAnImage, "outside of 0 to 255"),
    "colors above 1": (lambda: np.full((1, 1, 3), 1.5), NotAnImage, "outside of 0 to 1"),
}


@pytest.mark.parametrize(("made", "error", "says"), OTHERS.values(), ids=OTHERS.keys())
def test_anything_else_is_one_line_that_says_what_is_taken(
    made: Any, error: type[ConversationError], says: str
) -> None:
    with pytest.raises(error) as caught:
        read_image(made())
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamr.conversation.images.MAX_BYTES", 100)
    with open("/dev/zero", "rb") as endless, pytest.raises(ConversationError, match="100 bytes"):
        read_image(endless)


@given(arrays(scalar_dtypes(), array_shapes(max_dims=4, max_side=5)))
def test_arrays_raise_nothing_but_conversation_errors(values: np.ndarray[Any, Any]) -> None:
    said = ""
    try:
        read_image(values)
    except ConversationError as error:
        said = str(error)
    assert "\n" not in said
