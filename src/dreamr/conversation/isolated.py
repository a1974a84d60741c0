"""Reading of an image in a short-lived process.

The memory that a decoder needs is bounded, and all of it is returned. A decoder that crashes or
takes too long ends with its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from dreamr.conversation import errors
from dreamr.conversation.errors import (
    AttachmentError,
    DecoderUnavailable,
    ImageDamaged,
    ImageTooManyPixels,
)
from dreamr.conversation.images import read_image
from dreamr.conversation.parts import Image

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from dreamr.conversation.isolated import main; main(*map(int, sys.argv[2:]))"
)
_SECONDS = 60  # time limit of one image
_BASE_BYTES = 1 << 30  # address space in addition to the pixels
_BYTES_PER_PIXEL = 24  # the most that a decoder needs: animated WebP, converted to RGB
_FAILED = 3  # exit status after an error that is reported on standard output


async def read_image_isolated(data: bytes, *, max_pixels: int, fit: int | None = None) -> Image:
    """Read an image in a process of its own; see `read_image`.

    Args:
        data: The bytes of the file.
        max_pixels: Limit on width * height.
        fit: Number of pixels to which a larger image is shrunk.

    Raises:
        AttachmentError: The errors of `read_image`. A decoder that crashes, or takes longer than a
            minute, raises ImageDamaged.
        DecoderUnavailable: If no process can be started.
    """
    root = str(Path(__file__).resolve().parents[2])
    arguments = [root, str(max_pixels), str(fit or max_pixels)]
    with anyio.move_on_after(_SECONDS):
        try:
            done = await anyio.run_process(
                [sys.executable, "-P", "-c", _BOOT, *arguments],
                input=data,
                stderr=subprocess.DEVNULL,
                check=False,
                start_new_session=True,
            )
        except OSError as error:
            raise DecoderUnavailable(
                f"no process can be started to decode the image: {error.strerror or error}"
            ) from error
        return await anyio.to_thread.run_sync(_result, done.returncode, done.stdout, data)
    raise ImageDamaged(f"the image was not decoded within {_SECONDS} s: save a smaller copy")


def _result(status: int, output: bytes, file: bytes) -> Image:
    """Return the image that a process has described on one line, followed by its data."""
    line, _, data = output.partition(b"\n")
    if status == 0:
        with contextlib.suppress(ValueError, TypeError):  # the output is not ours, or was cut off
            kept, *fields = json.loads(line)
            return Image(file if kept else data, *fields)
    if status == _FAILED:
        kind, message = json.loads(line)
        raise getattr(errors, kind, AttachmentError)(message)
    raise ImageDamaged("the image cannot be decoded: save it again, for example as PNG")


def main(max_pixels: int, fit: int) -> None:
    """Read an image from standard input; write it to standard output.

    A file that is kept is not repeated.
    """
    _limit(max_pixels)
    output: Any = sys.stdout.buffer
    status = 0
    try:
        file = sys.stdin.buffer.read()
        image = read_image(file, max_pixels=max_pixels, fit=fit)
        kept = image.format != "RGB"
        fields = [kept, image.width, image.height, image.name, image.format, image.lossy]
        output.write(json.dumps(fields).encode() + b"\n")
        output.write(b"" if kept else image.data)
    except MemoryError:
        status = _report(ImageTooManyPixels("the image takes too much memory: save a smaller copy"))
    except AttachmentError as error:
        status = _report(error)
    output.flush()
    os._exit(status)  # freeing the memory piece by piece would take a while


def _report(error: AttachmentError) -> int:
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
