"""Options of attachments: which pages, frames and sounds of a file the models get."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dreamr._option_specs import OptionSpec
from dreamr.conversation import MAX_FRAMES
from dreamr.conversation.media_options import FrameChoice, PdfTextMode
from dreamr.runner.config import NativeVideoMode

ATTACHMENTS = "Attachments"

Pages: TypeAlias = Annotated[
    str,
    OptionSpec("Pages of a PDF, such as 1-3,7 or 5-.", ATTACHMENTS, shown="the first 8"),
]
PdfText: TypeAlias = Annotated[
    PdfTextMode,
    OptionSpec(
        "Text layer of PDF pages beside their images: auto (where there is one), on or off.",
        ATTACHMENTS,
    ),
]
Frames: TypeAlias = Annotated[
    int, OptionSpec("Number of frames of a video.", ATTACHMENTS, 1, MAX_FRAMES)
]
FramesBy: TypeAlias = Annotated[
    FrameChoice,
    OptionSpec("Frames of a video: even (evenly spaced) or scenes (after changes).", ATTACHMENTS),
]
Fps: TypeAlias = Annotated[
    float | None,
    OptionSpec(
        "Frames per second of a video, instead of a number of frames.",
        ATTACHMENTS,
        0.001,
        shown="--frames",
    ),
]
DraftFrames: TypeAlias = Annotated[
    int | None,
    OptionSpec(
        "Largest number of frames of a video for the draft.",
        ATTACHMENTS,
        1,
        MAX_FRAMES,
        shown="as the target",
    ),
]
NativeVideo: TypeAlias = Annotated[
    NativeVideoMode,
    OptionSpec(
        "Send video files to servers as they are: off (frames instead), target, or both models.",
        ATTACHMENTS,
    ),
]
Sound: TypeAlias = Annotated[bool, OptionSpec("Use the sound of videos.", ATTACHMENTS)]
Transcriber: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Server URL or Whisper model that transcribes speech.",
        ATTACHMENTS,
        shown="none",
        reads="*",
    ),
]
TranscriberModel: TypeAlias = Annotated[
    str | None,
    OptionSpec("Name of the transcriber at its server.", ATTACHMENTS, shown="its only model"),
]
Hotwords: TypeAlias = Annotated[
    str,
    OptionSpec(
        "Words that are likely in speech, such as names, for the transcriber.",
        ATTACHMENTS,
        shown="none",
    ),
]

# Options of reading files; problems of tasks are read already.
READING = ("pages", "pdf_text", "frames", "frames_by", "fps", "sound")
