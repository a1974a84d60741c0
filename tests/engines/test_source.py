"""What is recorded about a model."""

from __future__ import annotations

import pytest

from dreamr import BadOption, RunOptions
from dreamr.engines import ModelSource


def test_the_identity_of_a_model_on_the_hub_names_its_revision() -> None:
    options = RunOptions(target="owner/a", revision="v2", draft="owner/b", draft_revision="main")
    assert options.source("target").identity == "owner/a@v2"
    assert options.source("draft").identity == "owner/b@main"
    assert ModelSource(role="draft", name="owner/b").identity == "owner/b"
    assert ModelSource(role="draft", name="gpu:8000", revision="x").identity == "http://gpu:8000/v1"


def test_images_for_the_draft_are_as_large_as_for_the_target_unless_the_user_says_so() -> None:
    def pixels(**options: int) -> list[int]:
        given = RunOptions(**options)
        return [given.source(role).max_pixels for role in ("target", "draft")]

    assert pixels() == [2**20, 2**20]
    assert pixels(max_pixels=500_000) == [500_000, 500_000]
    assert pixels(max_pixels=0) == [0, 0]
    assert pixels(draft_max_pixels=0) == [2**20, 0]
    assert pixels(max_pixels=0, draft_max_pixels=9) == [0, 9]
    with pytest.raises(BadOption, match="--max-pixels must be at least 0, not -1"):
        pixels(max_pixels=-1)
