"""Shrinking of images, in strips, so that a large image never exists as RGB."""

from __future__ import annotations

import math
from collections.abc import Callable

import PIL.Image

_STRIP = 1_000_000  # pixels of a strip, about
_GAP = 1.5  # how much larger than the result an image is that is resampled, at least


def fitting_size(width: int, height: int, most: int) -> tuple[int, int]:
    """Return the largest size with the proportions of an image and at most `most` pixels.

    An image that has no more pixels keeps its size.
    """
    if width * height <= most:
        return width, height
    scale = math.sqrt(most / (width * height))
    wide, high = max(1, int(width * scale)), max(1, int(height * scale))
    return min(wide, most // high or 1), min(high, most // wide or 1)


def use_less_detail(pillow: PIL.Image.Image, size: tuple[int, int]) -> None:
    """Let the decoder of an opened JPEG leave out detail that a smaller size does not need."""
    pillow.draft(None, (math.ceil(_GAP * size[0]), math.ceil(_GAP * size[1])))


def shrink(
    pillow: PIL.Image.Image,
    size: tuple[int, int],
    to_rgb: Callable[[PIL.Image.Image], PIL.Image.Image],
) -> PIL.Image.Image:
    """Return a loaded image as RGB in a smaller size.

    Whole factors are averaged strip by strip, as long as the rest, which is resampled with a filter
    of Lanczos, is still a good deal larger than the result.

    Args:
        pillow: The image, in any mode that `to_rgb` takes.
        size: Width and height of the result, in pixels.
        to_rgb: Converts a strip of the image to RGB.
    """
    width, height = pillow.size
    across, down = max(1, int(width / size[0] / _GAP)), max(1, int(height / size[1] / _GAP))
    small = PIL.Image.new("RGB", (-(-width // across), -(-height // down)))
    rows = down * max(1, _STRIP // (width * down))
    for top in range(0, height, rows):
        strip = to_rgb(pillow.crop((0, top, width, min(height, top + rows))))
        small.paste(strip.reduce((across, down)), (0, top // down))
    return small if small.size == size else small.resize(size, PIL.Image.Resampling.LANCZOS)
