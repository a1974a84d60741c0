"""Prompts: texts and images in the order in which a run shows them to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dreamr.conversation import Text, flatten
from dreamr_testbed.suites import Medium, Problem, ask_about


@dataclass(frozen=True, slots=True)
class Prompt:
    """A user's turn.

    Attributes:
        question: Text after the images.
        images: Images, (SIDE, SIDE, 3) each.
        leads: Text before each image, such as the number of a page; often empty.
    """

    question: str
    images: tuple[npt.NDArray[np.uint8], ...] = ()
    leads: tuple[str, ...] = ()


def prompt_about(
    question: str,
    images: Sequence[Image.Image],
    medium: Medium = "images",
    file: str | None = None,
) -> Prompt:
    """Return the prompt of a question about images: what `flatten` makes of its conversation."""
    leads, lead = [], ""
    (turn,) = flatten(ask_about(question, images, medium, file)).turns
    for part in turn.parts:
        if isinstance(part, Text):
            lead += part.text
        else:
            leads.append(lead)
            lead = ""
    return Prompt(lead, tuple(map(np.asarray, images)), tuple(leads))


def prompt_of(problem: Problem) -> Prompt:
    """Return the prompt of a problem."""
    return prompt_about(problem.question, problem.images, problem.scene.medium, problem.file)
