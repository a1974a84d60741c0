"""Reading of an image in a short-lived process.

The memory that a decoder needs is bounded, and all of it is returned. A decoder that crashes or
takes too long ends with its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio

from dreamr.conversation import errors
from dreamr.conversation.errors import ImageDamaged, ImageError, ImageTooManyPixels
from dreamr.conversation.images import read_image
from dreamr.conversation.parts import Image

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.conversation.isolated import main; main(*map(int, sys.argv[2:]))"
)
_SECONDS = 60  # time limit of one image
_BASE_BYTES = 1 << 30  # address space in addition to the pixels
_BYTES_PER_PIXEL = 24  # the most that a decoder needs: animated WebP, converted to RGB
_SIZE = struct.Struct(">II")
_FAILED = 3  # exit status after an error that is reported on standard output


async def read_image_isolated(data: bytes, *, max_pixels: int, fit: int | None = None) -> Image:
    """Read an image in a process of its own; see `read_image`.

    Args:
        data: The bytes of the file.
        max_pixels: Limit on width * height.
        fit: Number of pixels to which a larger image is shrunk.

    Raises:
        ImageError: The errors of `read_image`. A decoder that crashes, or takes longer than a
            minute, raises ImageDamaged.
        OSError: If no process can be started.
    """
    root = str(Path(__file__).resolve().parents[2])
    arguments = [root, str(max_pixels), str(fit or max_pixels)]
    with anyio.move_on_after(_SECONDS):
        done = await anyio.run_process(
            [sys.executable, "-P", "-c", _BOOT, *arguments],
            input=data,
            stderr=subprocess.DEVNULL,
            check=False,
            start_new_session=True,
        )
        return _result(done.returncode, done.stdout)
    raise ImageDamaged(f"the image was not decoded within {_SECONDS} s: save a smaller copy")


def _result(status: int, output: bytes) -> Image:
    if status == 0 and len(output) > _SIZE.size:
        width, height = _SIZE.unpack_from(output)
        if len(output) == _SIZE.size + 3 * width * height:
            return Image(output[_SIZE.size :], width, height)
    if status == _FAILED:
        kind, message = json.loads(output)
        raise getattr(errors, kind, ImageError)(message)
    raise ImageDamaged("the image cannot be decoded: save it again, for example as PNG")


def main(max_pixels: int, fit: int) -> None:
    """Read an image from standard input; write its size and pixels to standard output."""
    _limit(max_pixels)
    output: Any = sys.stdout.buffer
    status = 0
    try:
        image = read_image(sys.stdin.buffer.read(), max_pixels=max_pixels, fit=fit)
        output.write(_SIZE.pack(image.width, image.height))
        output.write(image.pixels)
    except MemoryError:
        status = _report(ImageTooManyPixels("the image takes too much memory: save a smaller copy"))
    except ImageError as error:
        status = _report(error)
    output.flush()
    os._exit(status)  # freeing the memory piece by piece would take a while


def _report(error: ImageError) -> int:
    sys.stdout.buffer.write(json.dumps([type(error).__name__, str(error)]).encode())
    return _FAILED


def _limit(max_pixels: int) -> None:
    """Bound memory and time of this process, and let others have the processor first."""
    import resource  # not on Windows, where dreamr does not run workers either

    most = _BASE_BYTES + _BYTES_PER_PIXEL * max_pixels
    for kind, value in ((resource.RLIMIT_AS, most), (resource.RLIMIT_CPU, _SECONDS)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(kind, (value, value))
    os.nice(10)
