"""Problems: images, a question, reference reasoning and an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Literal, Protocol, Self, TypeAlias

from PIL import Image

from dreamr.evaluation.tasks import MARKER, Split, extract_answer
from dreamr_testbed.suites.canvas import Canvas

Paint: TypeAlias = Callable[[Canvas], None]  # draws an image and labels its patches
Medium: TypeAlias = Literal["images", "pages", "frames"]  # what the images of a problem are
Labels: TypeAlias = tuple[tuple[str, str], ...]  # of the 36 patches of an image, row by row


@dataclass(frozen=True, slots=True)
class ReferenceStep:
    """A right step in two styles: as short as possible, and with more words."""

    terse: str
    wordy: str

    @property
    def renderings(self) -> tuple[str, str]:
        """Texts that count as this step."""
        return (self.terse, self.wordy)


def look_for(what: str) -> ReferenceStep:
    """Return the first step of a solution, which states what to look for."""
    return ReferenceStep(
        f"Needed: {what}.", f"To answer this question I first have to look for {what}."
    )


class Scene(Protocol):
    """Interface of the content of one or more images and the question about them."""

    @property
    def medium(self) -> Medium:
        """What the images are."""
        ...

    @property
    def question(self) -> str:
        """Question about the images."""
        ...

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning without the answer: 4 to 22 steps."""
        ...

    @property
    def answer(self) -> str:
        """Right answer."""
        ...

    @property
    def transcript(self) -> str:
        """Content of the images as text."""
        ...

    @property
    def views(self) -> tuple[Paint, ...]:
        """Functions that draw the images, in order."""
        ...

    def misread(self, rng: Random) -> Self:
        """Return the same question about an image that differs in one fact: a likely mistake."""
        ...


class SeveralImages:
    """Base class of scenes with several images."""

    __slots__ = ()
    medium: ClassVar[Medium] = "images"


class OneImage:
    """Base class of scenes with a single image, which their method `paint` draws."""

    __slots__ = ()
    medium: ClassVar[Medium] = "images"

    def paint(self, canvas: Canvas) -> None:
        """Draw the image and label its patches."""
        raise NotImplementedError

    @property
    def views(self) -> tuple[Paint, ...]:
        """The function that draws the image."""
        return (self.paint,)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a suite; equal `(suite, split, index, level)` give equal problems.

    Attributes:
        suite: Name of the suite.
        split: 'train' or 'test'.
        index: Number of the problem in the split.
        level: Difficulty from 1 to 3.
        scene: Content of the images and the question.
        images: The images, 144 x 144 pixels each.
        labels: Labels of the patches of each image.
        file: Name of the PDF file that the pages come from, if it is shown.
    """

    suite: str
    split: Split
    index: int
    level: int
    scene: Scene
    images: tuple[Image.Image, ...] = field(compare=False, repr=False)
    labels: tuple[Labels, ...] = field(repr=False)
    file: str | None = None

    @property
    def image(self) -> Image.Image:
        """The first image."""
        return self.images[0]

    @property
    def patches(self) -> Labels:
        """Labels of the patches of the first image."""
        return self.labels[0]

    @property
    def kind(self) -> str:
        """Kind of the scene, such as 'receipt', 'race' or 'compare'."""
        return type(self.scene).__name__.lower()

    @property
    def question(self) -> str:
        """Question about the images."""
        return self.scene.question

    @property
    def answer(self) -> str:
        """Right answer."""
        return self.scene.answer

    @property
    def final(self) -> str:
        """Answer with its marker, as at the end of a solution."""
        return f"{MARKER} {self.answer}"

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning, without the answer."""
        return self.scene.steps


def is_correct(problem: Problem, text: str) -> bool:
    """Check a solution's answer, ignoring whitespace, case and a final period.

    Args:
        problem: The problem.
        text: Solution, or the answer with its marker.
    """
    given = extract_answer(text)
    return given is not None and _normal(given) == _normal(problem.answer)


def _normal(answer: str) -> str:
    return re.sub(r"\s+", " ", answer).strip().rstrip(".").lower()
