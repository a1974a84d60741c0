"""Problems of the suites clip as video files, encoded by PyAV."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Final

from PIL import Image

from dreamr.errors import Unsupported
from dreamr_testbed.suites.media import FPS
from dreamr_testbed.suites.problem import Problem

SIDE = 288  # pixels: twice the images, so that compression blurs less of them
CODEC: Final = "mpeg4"  # part of every build of FFmpeg


def video_of(problem: Problem) -> bytes:
    """Return the images of a problem as an MP4 file that shows each of them for a second.

    Raises:
        Unsupported: If PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise Unsupported(
            "video files of problems need PyAV: pip install 'dreamr-testbed[files]'"
        ) from error
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(CODEC, rate=FPS)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        stream.time_base = Fraction(1, FPS)
        for image in problem.images:
            shown = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            for _ in range(FPS):
                container.mux(stream.encode(av.VideoFrame.from_image(shown)))
        container.mux(stream.encode())
    return file.getvalue()
