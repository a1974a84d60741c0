"""Read images from untrusted sources.

Checks run in a fixed order: file type, number of bytes, number of pixels in the header. The image
is decoded only after that. Only common formats whose decoders run inside the process are tried,
which excludes PostScript and WMF.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import PIL.Image
from PIL.Image import Transpose

from dreamr._messages import short_path
from dreamr.conversation.errors import (
    AttachmentEmpty,
    AttachmentTooLarge,
    ImageColorsUnknown,
    ImageDamaged,
    ImageTooManyPixels,
    NotAnImage,
)
from dreamr.conversation.files import read_file
from dreamr.conversation.parts import Image, ImageFormat
from dreamr.conversation.shrinking import fitting_size, shrink, use_less_detail
from dreamr.conversation.sources import TAKEN, ArrayLike, ImageSource, from_array, read_file_object

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 64_000_000  # above a 50-megapixel phone camera; 192 MB decoded
MAX_BYTES = 256 * 1024 * 1024

# Files that are kept as they are, by Pillow's name; MPO is JPEG with more images after the first.
_KEPT: Mapping[str | None, ImageFormat] = {
    "JPEG": "JPEG",
    "MPO": "JPEG",
    "PNG": "PNG",
    "WEBP": "WEBP",
}
_MORE_BYTES = 2**16  # of a file that is kept, beyond those of its pixels
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")  # WebP also has a form without loss
_MOST_CHUNKS = 64  # of a WebP file that are looked at; metadata comes before the image

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header of an image file says.

    Attributes:
        format: Name of the format, as Pillow gives it.
        width: Width in pixels, before any rotation.
        height: Height in pixels.
    """

    format: str
    width: int
    height: int


def read_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    fit: int | None = None,
    name: str | None = None,
) -> Image:
    """Read one image as upright RGB.

    The bytes of a JPEG, PNG or WebP file that holds an upright RGB image are kept, once they have
    been decoded without an error. Other images become pixels. The EXIF orientation is applied. The
    first frame of an animation or multi-page file is read. Transparency is blended with white;
    CMYK, palettes and grays become RGB; 16 bits per channel become 8. Integer and floating-point
    grays without a fixed range are stretched from their darkest to their brightest value; pixels
    that are not finite numbers become the nearest of the two, or the darkest.

    Args:
        source: A path (str or PathLike), the bytes of a file, a file opened in binary mode, which
            is read to its end, an array of pixels, or a Pillow image, which is not modified. An
            `Image` is checked against `max_pixels` and returned.
        max_pixels: Limit on width * height, checked before decoding. Pillow's own limit of about
            179 million pixels applies as well.
        fit: Number of pixels to which a larger image is shrunk while it is decoded. None: images
            keep their size.
        name: File name of the image, also for messages. None: that of the path.

    Raises:
        AttachmentMissing: If the file does not exist.
        AttachmentNotAFile: If the path is not a regular file.
        AttachmentUnreadable: If the operating system denies access.
        AttachmentEmpty: If there are no bytes.
        AttachmentTooLarge: If there are more than `MAX_BYTES` bytes.
        NotAnImage: If the format is not supported, or the source is none of the above.
        ImageTooManyPixels: If a pixel limit is exceeded.
        ImageDamaged: If the image cannot be decoded.
        ImageColorsUnknown: If the color mode cannot be converted to RGB.
    """
    if isinstance(source, Image):
        _check_pixels(source.width, source.height, max_pixels, source.name or "the image")
        return source
    if isinstance(source, PIL.Image.Image):
        return _finish(source, max_pixels, fit, name or "the image", name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), max_pixels, fit, name or "the image", name)
    if isinstance(source, str | os.PathLike):
        path = Path(os.fsdecode(source))
        data, name = read_file(path, MAX_BYTES), name or path.name
        return _decode(data, max_pixels, fit, short_path(path), name)
    if hasattr(source, "__array__"):
        array = from_array(cast("ArrayLike", source))
        return _finish(array, max_pixels, fit, name or "the array", name)
    if callable(getattr(source, "read", None)):
        data = read_file_object(source, MAX_BYTES)
        return _decode(data, max_pixels, fit, name or "the open file", name)
    kind = "None" if source is None else f"a value of type {type(source).__name__}"
    raise NotAnImage(f"cannot read an image from {kind}: pass {TAKEN}")


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Check the header of an image file without decoding its pixels.

    Args:
        data: The bytes of the file.
        max_pixels: Limit on width * height.

    Raises:
        AttachmentError: As `read_image`, apart from damage after the header.
    """
    with _quiet(), _open(data, "the image") as opened:
        _check_pixels(opened.width, opened.height, max_pixels, "the image")
        return ImageHeader(opened.format or "", opened.width, opened.height)


def thumbnail(image: Image, *, side: int = 480) -> bytes:
    """Return the image as a PNG file, scaled down so that no side exceeds `side` pixels."""
    pillow = to_pillow(image)
    pillow.thumbnail((side, side))
    buffer = io.BytesIO()
    pillow.save(buffer, "PNG")
    return buffer.getvalue()


def _decode(data: bytes, max_pixels: int, fit: int | None, shown: str, name: str | None) -> Image:
    with _quiet(), _open(data, shown) as opened:
        _check_pixels(opened.width, opened.height, max_pixels, shown)
        use_less_detail(opened, fitting_size(*opened.size, fit or max_pixels))
        return _finish(opened, max_pixels, fit, shown, name, data)


def _open(data: bytes, shown: str) -> PIL.Image.Image:
    """Parse the header without decoding pixels."""
    if not data:
        raise AttachmentEmpty(f"{shown} is empty: pass an image file with content")
    if len(data) > MAX_BYTES:
        raise AttachmentTooLarge(f"{shown} has more than {MAX_BYTES:,} bytes: save a smaller copy")
    try:
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.Image.DecompressionBombError as error:
        raise ImageTooManyPixels(f"{shown} has far too many pixels: save a smaller copy") from error
    except PIL.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise NotAnImage(f"{shown} is not in a supported image format: use {known}") from error
    except Exception as error:  # decoders raise many kinds of errors on corrupt data
        raise _damaged(shown) from error


def _finish(
    pillow: PIL.Image.Image,
    max_pixels: int,
    fit: int | None,
    shown: str,
    name: str | None,
    data: bytes | None = None,
) -> Image:
    """Decode an opened image, and return it in the requested size.

    Args:
        pillow: The image.
        max_pixels: See `read_image`.
        fit: See `read_image`.
        shown: The image in messages.
        name: File name of the image.
        data: The bytes of the file, which are kept if nothing in it has to be changed.
    """
    _check_pixels(pillow.width, pillow.height, max_pixels, shown)
    size = fitting_size(*pillow.size, fit or max_pixels)
    shrinks = size != pillow.size
    lossy = pillow.format in _LOSSY and not _is_lossless_webp(data or b"")
    with _quiet():
        try:
            pillow.load()
        except Exception as error:  # as above
            raise _damaged(shown) from error
        if data is not None and not shrinks and _is_plain(pillow, data):
            return Image(data, *pillow.size, name, _KEPT[pillow.format], lossy)
        try:
            if shrinks:
                # The stretch of a range needs the extremes of the whole image.
                gray = _stretch(pillow) if pillow.mode in ("I", "F") else pillow
                rgb = _turned(shrink(gray, size, _to_rgb), pillow)
            else:
                rgb = _to_rgb(_turned(pillow, pillow))
        except ValueError as error:
            raise ImageColorsUnknown(
                f"{shown} has color mode {pillow.mode}, which cannot be converted to RGB: "
                "save it as PNG"
            ) from error
    return Image(rgb.tobytes(), rgb.width, rgb.height, name, lossy=lossy)


def _is_plain(pillow: PIL.Image.Image, data: bytes) -> bool:
    """Return whether the file of a decoded image can be sent on as it is."""
    return (
        pillow.format in _KEPT
        and pillow.mode == "RGB"
        and not pillow.has_transparency_data
        and (pillow.format == "MPO" or not getattr(pillow, "is_animated", False))
        and _turn(pillow) is None
        # Cameras append films to photographs, and some files are mostly metadata.
        and len(data) <= 3 * pillow.width * pillow.height + _MORE_BYTES
    )


def _is_lossless_webp(data: bytes) -> bool:
    """Check whether the first image of a WebP file is compressed without loss."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return False
    place = 12
    for _ in range(_MOST_CHUNKS):
        kind = data[place : place + 4]
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        # The chunks of an animation's frame follow 16 bytes of its own.
        place += 24 if kind == b"ANMF" else 8 + size + size % 2
    return False


def _check_pixels(width: int, height: int, max_pixels: int, shown: str) -> None:
    if width < 1 or height < 1:
        raise ImageDamaged(f"{shown} has no pixels: save it again")
    if width * height > max_pixels:
        raise ImageTooManyPixels(
            f"{shown} has {width} x {height} pixels, above the limit of {max_pixels:,}: "
            "save a smaller copy"
        )


def _turned(pillow: PIL.Image.Image, original: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image upright, as the metadata of the original says."""
    turn = _turn(original)
    return pillow if turn is None else pillow.transpose(turn)


def _turn(pillow: PIL.Image.Image) -> Transpose | None:
    """Return what makes an image upright, None if it is."""
    try:
        orientation = pillow.getexif().get(_ORIENTATION_TAG)
    except Exception:  # the pixels are usable even if the metadata is broken
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _to_rgb(pillow: PIL.Image.Image) -> PIL.Image.Image:
    if pillow.mode.startswith("I;16"):
        wide = pillow.convert("I")
        return wide.point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if pillow.mode in ("I", "F"):
        return _stretch(pillow).convert("RGB")
    if pillow.has_transparency_data:
        seen = pillow.convert("RGBA")
        paper = PIL.Image.new("RGBA", seen.size, "white")
        return PIL.Image.alpha_composite(paper, seen).convert("RGB")
    return pillow.convert("RGB")


def to_pillow(image: Image, within: tuple[int, int] | None = None) -> PIL.Image.Image:
    """Convert the image to a Pillow image.

    Args:
        image: The image.
        within: Width and height to which it will be shrunk. A JPEG file is then decoded with less
            detail, which is faster.
    """
    if image.format == "RGB":
        return PIL.Image.frombytes("RGB", (image.width, image.height), image.data)
    with PIL.Image.open(io.BytesIO(image.data), formats=[image.format]) as opened:
        if within is not None:
            use_less_detail(opened, within)
        return opened.convert("RGB")


def _stretch(pillow: PIL.Image.Image) -> PIL.Image.Image:
    """Map the range of the finite grays to that of 8 bits; the others come out at its ends."""
    import numpy as np  # slow to import, and rarely needed

    values = np.array(pillow.convert("F"), np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scale = 255 / (high - low) if high > low else 0.0
    return PIL.Image.fromarray(np.rint((values - low) * scale).astype(np.uint8))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings of Pillow about input that is accepted or leads to an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _damaged(shown: str) -> ImageDamaged:
    return ImageDamaged(f"{shown} is truncated or damaged: copy or save it again")
