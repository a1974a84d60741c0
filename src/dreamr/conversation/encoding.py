"""Images as files: within a number of pixels, in the formats that a receiver reads."""

from __future__ import annotations

import io
from collections.abc import Collection

from dreamr.conversation.images import to_pillow
from dreamr.conversation.parts import Image, ImageFormat
from dreamr.conversation.shrinking import fitting_size, shrink

FILE_FORMATS: tuple[ImageFormat, ...] = ("JPEG", "PNG", "WEBP")
_QUALITY = 95  # of JPEG: no visible loss beside that of the source


def as_file(
    image: Image, most: int | None = None, formats: Collection[ImageFormat] = FILE_FORMATS
) -> Image:
    """Return an image as a file; the image itself if it is one that fits.

    An image from a lossy file becomes JPEG, any other one PNG, which keeps its pixels. Equal images
    give the same bytes.

    Args:
        image: The image.
        most: Number of pixels to which a larger image is shrunk. None: it keeps its size.
        formats: Formats of files that are left as they are; JPEG and PNG must be among them.
    """
    size = image.width, image.height
    small = size if most is None else fitting_size(*size, most)
    if small == size and image.format in formats:
        return image
    pillow = to_pillow(image, within=small if small != size else None)
    if pillow.size != small:
        pillow = shrink(pillow, small, lambda strip: strip)
    file = io.BytesIO()
    if image.lossy:
        # In full resolution of colors, which thin colored lines need.
        pillow.save(file, "JPEG", quality=_QUALITY, subsampling=0)
        return Image(file.getvalue(), *small, image.name, "JPEG", lossy=True)
    pillow.save(file, "PNG", compress_level=1)
    return Image(file.getvalue(), *small, image.name, "PNG")
