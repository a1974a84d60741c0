"""Problems as files: images, a PDF file, a video, or a spoken question."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from dreamr.errors import Unsupported
from dreamr_testbed.suites.pdf import pdf_of
from dreamr_testbed.suites.problem import Problem
from dreamr_testbed.suites.spoken.scene import Spoken
from dreamr_testbed.suites.spoken.speaking import speakers
from dreamr_testbed.suites.video import video_of

_ENDINGS = {"images": ".png", "pages": ".pdf", "frames": ".mp4"}


def files_of(problem: Problem, path: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of a problem and their contents.

    Args:
        problem: The problem.
        path: Path of the file. Several images are numbered; a sound has the ending .wav.

    Raises:
        Unsupported: If the ending does not suit the problem, or what makes the file is not
            installed.
    """
    medium = problem.scene.medium
    ending = path.suffix.lower()
    if ending not in (".png", _ENDINGS[medium]):
        known = " or ".join(dict.fromkeys((_ENDINGS[medium], ".png")))
        raise Unsupported(f"{path.name} must end in {known} for a problem of {problem.suite}")
    if ending == ".png":
        yield from _images(problem, path)
    else:
        yield path, pdf_of(problem) if medium == "pages" else video_of(problem)
    if isinstance(problem.scene, Spoken):
        voices = speakers()
        voice = voices[problem.index % len(voices)]
        yield path.with_suffix(".wav"), voice.say(problem.scene.scene.question).data


def _images(problem: Problem, path: Path) -> Iterator[tuple[Path, bytes]]:
    for number, image in enumerate(problem.images, 1):
        name = path.name if len(problem.images) == 1 else f"{path.stem}-{number}{path.suffix}"
        out = io.BytesIO()
        image.save(out, "PNG")
        yield path.with_name(name), out.getvalue()
