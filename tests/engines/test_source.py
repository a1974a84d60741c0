"""What is recorded about a model."""

from __future__ import annotations

from dreamr import RunOptions
from dreamr.engines import ModelSource


def test_the_identity_of_a_model_on_the_hub_names_its_revision() -> None:
    options = RunOptions(target="owner/a", revision="v2", draft="owner/b", draft_revision="main")
    assert options.source("target").identity == "owner/a@v2"
    assert options.source("draft").identity == "owner/b@main"
    assert ModelSource(role="draft", name="owner/b").identity == "owner/b"
    assert ModelSource(role="draft", name="gpu:8000", revision="x").identity == "http://gpu:8000/v1"
