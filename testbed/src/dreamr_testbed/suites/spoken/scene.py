"""A scene of another suite whose question was heard and not read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.problem import Medium, Paint, ReferenceStep, Scene


@dataclass(frozen=True, slots=True)
class Spoken:
    """A scene with a transcript in place of its question.

    Attributes:
        scene: The scene; its question is what was said.
        question: What was heard.
    """

    scene: Scene
    question: str

    @property
    def medium(self) -> Medium:
        """What the images of the scene are."""
        return self.scene.medium

    @property
    def answer(self) -> str:
        """Right answer to what was said."""
        return self.scene.answer

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning, with the words of the images."""
        return self.scene.steps

    @property
    def transcript(self) -> str:
        """Content of the images as text."""
        return self.scene.transcript

    @property
    def views(self) -> tuple[Paint, ...]:
        """Functions that draw the images, in order."""
        return self.scene.views

    def misread(self, rng: Random) -> Self:
        """Return the same transcript about an image that differs in one fact."""
        return replace(self, scene=self.scene.misread(rng))
