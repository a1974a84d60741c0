"""Lookups among several images: lines that are read by the number of their image and line.

A model that was trained on single images takes each of several for the only one. A solution about
several images reads a few lines by their places; these examples read ten, in a random order.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from dreamr_testbed.suites import SUITES, Medium, make_problem

QUESTION = "Read these lines."
LINES = 10  # that are read in an example
NAMES: dict[Medium, str] = {"images": "Image", "pages": "Page", "frames": "Frame"}


@dataclass(frozen=True, slots=True)
class Lookups:
    """Images of several problems, and lines of their transcripts.

    Attributes:
        question: Text of the user.
        medium: What the images are.
        images: The images.
        pieces: Texts of the answer, and whether they are trained: places are not, lines are.
    """

    question: str
    medium: Medium
    images: tuple[Image.Image, ...]
    pieces: tuple[tuple[str, bool], ...]


def draw_lookups(rng: Random, most: int = 4) -> Lookups:
    """Draw lookups among two to `most` images of the suites with one image."""
    count = rng.randint(2, most)
    medium = rng.choice(tuple(NAMES))
    # Mostly of one suite, so that the content does not reveal the image.
    suite = rng.choice(tuple(SUITES))
    problems = [
        make_problem(suite if rng.random() < 0.8 else rng.choice(tuple(SUITES)), "train", index)
        for index in (rng.getrandbits(40) for _ in range(count))
    ]
    lines = [
        (f"{NAMES[medium]} {image}, line {number}:", f" {line}\n")
        for image, problem in enumerate(problems, 1)
        for number, line in enumerate(problem.scene.transcript.split("\n"), 1)
    ]
    drawn = rng.sample(lines, min(LINES, len(lines)))
    pieces = tuple(piece for place, line in drawn for piece in ((place, False), (line, True)))
    return Lookups(QUESTION, medium, tuple(problem.image for problem in problems), pieces)
