"""Pages and frames as image files."""

from __future__ import annotations

import io
import math

import PIL.Image

_MOST_RATIO = 100  # of the sides; the processors of some models refuse 200
_QUALITY = 95  # of JPEG: no visible loss beside that of the video


def widened(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return an RGB image with white at its long sides if it is extremely narrow."""
    least = math.ceil(max(image.size) / _MOST_RATIO)
    if min(image.size) >= least:
        return image
    wider = PIL.Image.new("RGB", (max(least, image.width), max(least, image.height)), "white")
    wider.paste(image, ((wider.width - image.width) // 2, (wider.height - image.height) // 2))
    return wider


def as_png(image: PIL.Image.Image) -> bytes:
    """Return an image as a PNG file."""
    output = io.BytesIO()
    image.save(output, "PNG", compress_level=1)
    return output.getvalue()


def as_jpeg(image: PIL.Image.Image) -> bytes:
    """Return an image as a JPEG file, in full resolution of colors."""
    output = io.BytesIO()
    image.save(output, "JPEG", quality=_QUALITY, subsampling=0)
    return output.getvalue()
