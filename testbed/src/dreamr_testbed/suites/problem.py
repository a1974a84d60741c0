"""Problems: an image, a question, reference reasoning and an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, Self

from PIL import Image

from dreamr.evaluation.tasks import MARKER, Split, extract_answer
from dreamr_testbed.suites.canvas import Canvas


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
    """Interface of the content of an image and the question about it."""

    @property
    def question(self) -> str:
        """Question about the image."""
        ...

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning of 4 to 12 steps, without the answer."""
        ...

    @property
    def answer(self) -> str:
        """Right answer."""
        ...

    @property
    def transcript(self) -> str:
        """Content of the image as text."""
        ...

    def paint(self, canvas: Canvas) -> None:
        """Draw the image and label its patches."""
        ...

    def misread(self, rng: Random) -> Self:
        """Return the same question about an image that differs in one fact: a likely mistake."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a suite; equal `(suite, split, index, level)` give equal problems.

    Attributes:
        suite: Name of the suite.
        split: 'train' or 'test'.
        index: Number of the problem in the split.
        level: Difficulty from 1 to 3.
        scene: Content of the image and the question.
        image: The image, 144 x 144 pixels.
        patches: Label of each of the 36 patches, row by row.
    """

    suite: str
    split: Split
    index: int
    level: int
    scene: Scene
    image: Image.Image = field(compare=False, repr=False)
    patches: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def kind(self) -> str:
        """Kind of the scene, such as 'receipt', 'race' or 'compare'."""
        return type(self.scene).__name__.lower()

    @property
    def question(self) -> str:
        """Question about the image."""
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
