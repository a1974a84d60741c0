"""Reading pictures that nobody vouches for.

The order is the point: what the file system says, then the number of bytes, then the header's
number of pixels, and only then is anything decoded. Only formats with decoders that stay inside
the process are tried (no PostScript, no WMF), and of those only the ones that people send.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import PIL.Image
from PIL.Image import Transpose

from dreamr.conversation.errors import (
    ImageColorsUnknown,
    ImageDamaged,
    ImageEmpty,
    ImageFileTooLarge,
    ImageMissing,
    ImageNotAFile,
    ImageTooManyPixels,
    ImageUnreadable,
    NotAnImage,
)
from dreamr.conversation.parts import Image

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | PIL.Image.Image | Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 64_000_000  # a 50-megapixel telephone passes; 192 MB once decoded
MAX_BYTES = 256 * 1024 * 1024

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


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read one picture as upright RGB.

    The EXIF orientation is applied. Of an animated or many-paged file the first frame is read.
    Transparency is laid over white, CMYK, palettes and greys become RGB, 16 bits a channel become
    8, and whole-number or floating-point greys of no fixed range are stretched from their darkest
    to their brightest value.

    Args:
        source: a path (str or PathLike), the bytes of a file, or a Pillow image, which is left as
            it is. An `Image` is checked against `max_pixels` and returned.
        max_pixels: bound on width * height, checked before anything is decoded. Pillow's own
            bound of about 179 million holds as well.

    Raises:
        ImageMissing, ImageNotAFile, ImageUnreadable, ImageEmpty, ImageFileTooLarge: the file.
        NotAnImage, ImageTooManyPixels, ImageDamaged, ImageColorsUnknown: its contents.
    """
    if isinstance(source, Image):
        _check_pixels(source.width, source.height, max_pixels, source.name or "the picture")
        return source
    if isinstance(source, PIL.Image.Image):
        return _finish(source, max_pixels, "the picture", None)
    if isinstance(source, bytes):
        return _decode(source, max_pixels, "the picture", None)
    path = Path(source)
    return _decode(_read_bytes(path), max_pixels, _shown(str(path)), path.name)


def thumbnail(image: Image, *, side: int = 480) -> bytes:
    """The picture as a PNG file, made smaller where its longer side has more pixels than `side`."""
    pillow = to_pillow(image)
    pillow.thumbnail((side, side))
    buffer = io.BytesIO()
    pillow.save(buffer, "PNG")
    return buffer.getvalue()


def _read_bytes(path: Path) -> bytes:
    shown = _shown(str(path))
    try:
        status = path.stat()
        # A pipe or a device could block for ever or never end: ask before opening.
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ImageNotAFile(f"{shown} is {kind}: name one picture file")
        if status.st_size > MAX_BYTES:
            raise ImageFileTooLarge(
                f"{shown} has {status.st_size:,} bytes, the limit is {MAX_BYTES:,}: "
                "save a smaller copy"
            )
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL
        hint = "download it first" if "://" in shown or ":/" in shown else "check the path"
        raise ImageMissing(f"there is no file {shown}: {hint}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageUnreadable(
            f"{shown} cannot be read ({reason}): check the file's permissions"
        ) from error


def _decode(data: bytes, max_pixels: int, shown: str, name: str | None) -> Image:
    if not data:
        raise ImageEmpty(f"{shown} is empty: name a file that holds a picture")
    if len(data) > MAX_BYTES:
        raise ImageFileTooLarge(f"{shown} has more than {MAX_BYTES:,} bytes: save a smaller copy")
    with _quiet():
        opened = _open(data, shown)
        with opened:
            return _finish(opened, max_pixels, shown, name)


def _open(data: bytes, shown: str) -> PIL.Image.Image:
    """Parse the header; no pixel is decoded yet."""
    try:
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.Image.DecompressionBombError as error:
        raise ImageTooManyPixels(f"{shown} has far too many pixels: save a smaller copy") from error
    except PIL.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise NotAnImage(f"{shown} is no picture in a known format: use {known}") from error
    except Exception as error:  # decoders fed with garbage raise nearly everything
        raise _damaged(shown) from error


def _finish(pillow: PIL.Image.Image, max_pixels: int, shown: str, name: str | None) -> Image:
    _check_pixels(pillow.width, pillow.height, max_pixels, shown)
    with _quiet():
        try:
            pillow.load()
        except Exception as error:  # as above
            raise _damaged(shown) from error
        try:
            rgb = _to_rgb(_upright(pillow))
        except ValueError as error:
            raise ImageColorsUnknown(
                f"{shown} has colours of mode {pillow.mode}, which cannot be turned into RGB: "
                "save it as PNG"
            ) from error
    return Image(rgb.tobytes(), rgb.width, rgb.height, name)


def _check_pixels(width: int, height: int, max_pixels: int, shown: str) -> None:
    if width < 1 or height < 1:
        raise ImageDamaged(f"{shown} has no pixels: save it again")
    if width * height > max_pixels:
        raise ImageTooManyPixels(
            f"{shown} has {width} x {height} pixels, the limit is {max_pixels:,}: "
            "save a smaller copy"
        )


def _upright(pillow: PIL.Image.Image) -> PIL.Image.Image:
    try:
        orientation = pillow.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken metadata must not cost the user a sound picture
        return pillow
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return pillow if turn is None else pillow.transpose(turn)


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


def to_pillow(image: Image) -> PIL.Image.Image:
    """The same picture as Pillow has it."""
    return PIL.Image.frombytes("RGB", (image.width, image.height), image.pixels)


def _stretch(pillow: PIL.Image.Image) -> PIL.Image.Image:
    low, high = (float(bound) for bound in pillow.convert("F").getextrema())  # type: ignore[arg-type]
    scale = 255 / (high - low) if high > low else 0.0
    offset = -low * scale
    return pillow.convert("F").point(lambda value: value * scale + offset).convert("L")


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns about much that we turn into errors or accept; the user need not see it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _damaged(shown: str) -> ImageDamaged:
    return ImageDamaged(f"{shown} is cut short or damaged: copy or save it again")


def _shown(text: str) -> str:
    """The path on one line, whatever it holds."""
    return text.encode("unicode_escape", "replace").decode() if not text.isprintable() else text
