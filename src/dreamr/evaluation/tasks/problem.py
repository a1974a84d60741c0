"""A problem: a picture, a question, reference reasoning and an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol, Self

from PIL import Image

from dreamr.evaluation.tasks.canvas import Canvas

Split = Literal["train", "test"]
MARKER = "Answer:"


@dataclass(frozen=True, slots=True)
class ReferenceStep:
    """One right step in two styles: as short as it can be, and with more words around it."""

    terse: str
    wordy: str

    @property
    def renderings(self) -> tuple[str, str]:
        """All texts that count as this step."""
        return (self.terse, self.wordy)


def look_for(what: str) -> ReferenceStep:
    """The step that says what has to be looked for."""
    return ReferenceStep(
        f"Needed: {what}.", f"To answer this question I first have to look for {what}."
    )


class Scene(Protocol):
    """What a picture shows and what is asked about it; everything else is derived."""

    @property
    def question(self) -> str: ...

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """The reference reasoning, without the answer: 4 to 12 steps."""
        ...

    @property
    def answer(self) -> str: ...

    @property
    def transcript(self) -> str:
        """The whole picture read out as text."""
        ...

    def paint(self, canvas: Canvas) -> None:
        """Draw the picture and name what lies under each patch."""
        ...

    def misread(self, rng: Random) -> Self:
        """The same question about a picture that differs in one fact: a plausible mistake."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of a suite; equal `(suite, split, index, level)` give equal problems."""

    suite: str
    split: Split
    index: int
    level: int
    scene: Scene
    image: Image.Image = field(compare=False, repr=False)
    patches: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def kind(self) -> str:
        """What sort of scene it is: "receipt", "race", "compare" and so on."""
        return type(self.scene).__name__.lower()

    @property
    def question(self) -> str:
        return self.scene.question

    @property
    def answer(self) -> str:
        return self.scene.answer

    @property
    def final(self) -> str:
        """The answer as the last text of a solution says it, behind the marker."""
        return f"{MARKER} {self.answer}"

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        return self.scene.steps


def extract_answer(text: str) -> str | None:
    """The answer that a completion gives: what follows its last marker, None without marker."""
    _, marker, rest = text.rpartition(MARKER)
    return rest.strip().split("\n")[0] if marker else None


def is_correct(problem: Problem, text: str) -> bool:
    """Whether the completion's answer is the problem's, blanks, case and a full stop aside."""
    given = extract_answer(text)
    return given is not None and _normal(given) == _normal(problem.answer)


def _normal(answer: str) -> str:
    return re.sub(r"\s+", " ", answer).strip().rstrip(".").lower()
