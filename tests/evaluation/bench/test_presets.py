"""Methods that a bench can compare."""

from __future__ import annotations

from dreamr.evaluation.bench import PRESETS
from dreamr.schedules import METHODS


def test_every_method_can_be_compared_in_a_bench() -> None:
    assert {preset.values["method"] for preset in PRESETS.values()} == set(METHODS)
