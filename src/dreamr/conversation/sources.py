"""The bytes or pixels of an image in the forms in which Python programs hold it."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import PIL.Image

from dreamr.conversation.errors import AttachmentUnreadable, NotAnImage
from dreamr.conversation.parts import Image

if TYPE_CHECKING:
    import numpy as np


class BinaryFile(Protocol):
    """A file that was opened for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes."""
        ...


class ArrayLike(Protocol):
    """An array of pixels, such as one of NumPy or a tensor on the CPU."""

    def __array__(self) -> Any:
        """Return the values as an array of NumPy."""
        ...


ImageSource: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryFile
    | ArrayLike
    | PIL.Image.Image
    | Image
)
TAKEN = "a path, bytes, a file opened in binary mode, an array, a Pillow image or an Image"

_CHANNELS = (1, 2, 3, 4)  # gray, gray with alpha, RGB, RGB with alpha


def read_file_object(file: BinaryFile, most: int) -> bytes:
    """Read the rest of an open file, at most one byte more than `most`.

    Raises:
        NotAnImage: If it does not give bytes.
        AttachmentUnreadable: If it cannot be read.
    """
    if isinstance(file, io.TextIOBase):
        raise NotAnImage(
            "the file is opened as text: open it in binary mode, as in open(path, 'rb')"
        )
    found = bytearray()
    try:
        while len(found) <= most and (part := file.read(most + 1 - len(found))):
            if not isinstance(part, bytes | bytearray | memoryview):
                kind = type(part).__name__
                raise NotAnImage(
                    f"the file gives a value of type {kind} where bytes are needed: "
                    "open it in binary mode"
                )
            found += part
    except (OSError, ValueError, TypeError) as error:  # ValueError: it is closed
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise AttachmentUnreadable(f"cannot read the open file ({why}): open it again") from error
    return bytes(found)


def from_array(source: ArrayLike) -> PIL.Image.Image:
    """Make an image of an array of pixels.

    Shapes are (height, width) and (height, width, channels). Values are 0 to 255, or 0 to 1 as
    floating-point colors; grays of other types are kept for `read_image` to stretch.

    Raises:
        NotAnImage: If the array does not have the shape and the values of an image.
    """
    import numpy as np  # slow to import, and needed for arrays only

    try:
        values = np.asarray(source)
    except Exception as error:  # tensors on other devices, other people's classes
        why = " ".join(str(error).split())
        raise NotAnImage(f"the array cannot be read ({why}): pass an array of NumPy") from error
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in _CHANNELS)):
        raise NotAnImage(
            f"an array of shape {values.shape} is not an image: pass height x width or height x "
            "width x channels, with 3 channels for RGB"
        )
    if values.size == 0:
        raise NotAnImage("the array has no pixels: pass an image with content")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif":
        raise NotAnImage(f"an array of type {values.dtype} is not an image: pass numbers")
    if values.dtype != np.uint8:
        values = _grays(values) if values.ndim == 2 else _colors(values)
    return PIL.Image.fromarray(np.ascontiguousarray(values))


def _grays(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return grays as 16 bits or floating-point values, whose range is found later."""
    import numpy as np

    if values.dtype == np.uint16:
        return values
    with np.errstate(over="ignore"):  # what is beyond becomes infinite
        return values.astype(np.float32)


def _colors(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    most = 1 if values.dtype.kind == "f" else 255
    finite = values[np.isfinite(values)]
    if finite.size and not (finite.min() >= 0 and finite.max() <= most):
        raise NotAnImage(
            f"the colors of the array are outside of 0 to {most}: scale them, or pass integers "
            "from 0 to 255"
        )
    scaled = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0) * (255 / most)
    return np.asarray(np.rint(scaled), np.uint8)
