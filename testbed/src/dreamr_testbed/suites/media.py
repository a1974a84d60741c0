"""Problems as conversations: images, pages of a document, or frames of a video."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from dreamr.conversation import (
    Attachment,
    Conversation,
    Document,
    Frame,
    Page,
    Video,
    read_image,
)
from dreamr.evaluation.tasks import Places, places_in
from dreamr_testbed.suites.problem import Medium, Problem, ReferenceStep

# Frames a second of a video file; each view is shown for one second. With nine, no evenly spaced
# time lies halfway between two frames, for up to 16 views.
FPS = 9


def conversation_of(problem: Problem) -> Conversation:
    """Return the images of a problem in the form of their medium, and its question."""
    return ask_about(problem.question, problem.images, problem.scene.medium, problem.file)


def ask_about(
    question: str, images: Sequence[Image.Image], medium: Medium, file: str | None = None
) -> Conversation:
    """Return images in the form of a medium, below the name of a file if given, and a question."""
    return Conversation.from_prompt(question, *_attachments(images, medium, file))


def _attachments(
    shown: Sequence[Image.Image], medium: Medium, file: str | None
) -> tuple[Attachment, ...]:
    images = tuple(map(read_image, shown))
    if medium == "pages":
        pages = (Page(number, image) for number, image in enumerate(images, 1))
        return (Document(tuple(pages), len(images), file),)
    if medium == "frames":
        frames = map(Frame, times(len(images)), images)
        return (Video(tuple(frames), float(len(images))),)
    return images


def times(views: int) -> tuple[float, ...]:
    """Return the times of the evenly spaced frames of a video file, one for each view.

    `--frames` with the number of views reads the frames at these times.

    Args:
        views: Number of views, from 2 to 16.

    Returns:
        Seconds, from 0 to the last frame.
    """
    last = views * FPS - 1
    return tuple(round(last * k / (views - 1)) / FPS for k in range(views))


def places_of(problem: Problem) -> Places:
    """Return the pages, images or times that the reference reasoning of a problem names."""
    return _named(problem, *problem.steps)


def step_places(problem: Problem, position: int, text: str) -> Places | None:
    """Return the places that the reference step at a position names, or None if it names none.

    Args:
        problem: The problem.
        position: Position of the step, from 0.
        text: Text of the step, which is not needed: the reference has all steps in order.
    """
    if position >= len(problem.steps):
        return None
    found = _named(problem, problem.steps[position])
    return None if found == Places() else found


def _named(problem: Problem, *steps: ReferenceStep) -> Places:
    named = [places_in(text) for step in steps for text in step.renderings]
    if problem.scene.medium == "pages":
        return Places(pages=frozenset().union(*(one.pages for one in named)))
    if problem.scene.medium == "frames":
        at = times(len(problem.images))
        frames = sorted(frozenset().union(*(one.frames for one in named)))
        return Places(times=tuple((at[frame - 1], at[frame - 1]) for frame in frames))
    return Places(images=frozenset().union(*(one.images for one in named)))
