"""Clean images show the same problem as those of a file do: smooth, without rotation and noise."""

from __future__ import annotations

import numpy as np
import pytest
from dreamr_testbed.suites import SIDE, make_problem
from dreamr_testbed.suites.clean import clean
from PIL import Image


def colors_at_the_edge(image: Image.Image) -> int:
    pixels = np.asarray(image)
    return len(np.unique(np.concatenate([pixels[0], pixels[-1]]), axis=0))


@pytest.mark.parametrize("suite", ["docmath", "story", "vqa", "pages", "clip", "docmath-hard"])
def test_only_the_images_change_and_lose_rotation_and_noise(suite: str) -> None:
    problem = make_problem(suite, "test", 3, 1)
    cleaned = clean(problem)
    assert cleaned == problem
    assert len(cleaned.images) == len(problem.images)
    for image, noisy in zip(cleaned.images, problem.images, strict=True):
        assert image.size == (SIDE, SIDE)
        assert colors_at_the_edge(image) < colors_at_the_edge(noisy)


def test_the_same_problem_looks_the_same_again() -> None:
    first, second = (clean(make_problem("pages", "test", 3, 1)) for _ in range(2))
    assert [i.tobytes() for i in first.images] == [i.tobytes() for i in second.images]
