"""How much of a document or video is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from dreamr._option_specs import BadOption
from dreamr.conversation.page_ranges import PageRanges

PdfTextMode: TypeAlias = Literal["auto", "on", "off"]
FrameChoice: TypeAlias = Literal["even", "scenes"]

PIXELS = 2**20  # of a page or frame, unless chosen otherwise
FIRST_PAGES = 8  # read of a document, unless pages are chosen
MAX_PAGES = 100  # of a document in a conversation
MAX_FRAMES = 256  # of a video in a conversation
MAX_SECONDS = 1800  # of sound
MAX_PIXELS_READ = 2**24  # of a page or frame
_TEXTS, _CHOICES = get_args(PdfTextMode), get_args(FrameChoice)


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """How much of a document or video is read. Sound is read in full.

    Attributes:
        pages: Pages of a document, such as `1-3,7` or `5-`. Empty: the first 8.
        pdf_text: Whether the text layer of a page is added to its image: `auto` where it is
            usable, `on` wherever there is one, or `off`.
        frames: Number of frames of a video.
        fps: Frames a second of a video, instead of a number of frames.
        sound: Whether the sound of a video is read.
        max_pixels: Most pixels of an image, page or frame. None: 1,048,576 of a page or frame;
            images keep their size.
        frames_by: How the frames are chosen: `even` spaces them evenly, `scenes` takes those after
            the largest changes.
        keep_file: Whether the file of a video is kept, for servers that take it as it is.

    Raises:
        BadOption: If a value is out of range.
        BadPages: If the selection of pages is not one.
    """

    pages: str = ""
    pdf_text: PdfTextMode = "auto"
    frames: int = 8
    fps: float | None = None
    sound: bool = True
    max_pixels: int | None = None
    frames_by: FrameChoice = "even"
    keep_file: bool = False

    def __post_init__(self) -> None:
        PageRanges.parse(self.pages)
        if self.pdf_text not in _TEXTS:
            raise BadOption(f"pdf_text must be one of {', '.join(_TEXTS)}, not {self.pdf_text!r}")
        if self.frames_by not in _CHOICES:
            raise BadOption(
                f"frames_by must be one of {', '.join(_CHOICES)}, not {self.frames_by!r}"
            )
        if not isinstance(self.sound, bool):
            raise BadOption(f"sound must be true or false, not {self.sound!r}")
        _check_count("frames", self.frames, MAX_FRAMES)
        if self.max_pixels is not None:
            _check_count("max_pixels", self.max_pixels, MAX_PIXELS_READ)
        if self.fps is not None:
            is_number = isinstance(self.fps, int | float) and math.isfinite(self.fps)
            if not is_number or isinstance(self.fps, bool) or self.fps <= 0:
                raise BadOption(f"fps must be a number above 0, not {self.fps!r}")
            if self.frames_by == "scenes":
                raise BadOption("fps has no effect on frames chosen by scenes: leave out one")

    @property
    def pixels(self) -> int:
        """Most pixels of a page or frame."""
        return PIXELS if self.max_pixels is None else self.max_pixels


def _check_count(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise BadOption(f"{name} must be a whole number from 1 to {most:,}, not {value!r}")
