from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.drift import Controller

THRESHOLDS, RISKS = st.floats(0, 1), st.floats(0.001, 0.5)


@given(THRESHOLDS, RISKS, st.booleans(), st.lists(st.booleans(), max_size=100))
def test_the_threshold_stays_within_its_bounds(
    threshold: float, risk: float, lower: bool, heard: list[bool]
) -> None:
    controller = Controller(threshold, risk, lower=lower)
    assert 0 <= controller.low <= threshold <= controller.high <= 1
    assert lower or controller.low == threshold
    for disagrees in heard:
        before = controller.threshold
        controller.learn(disagrees)
        assert controller.low <= controller.threshold <= controller.high
        moved = controller.threshold - before
        assert moved >= 0 if disagrees else moved <= 0


def test_the_threshold_rises_at_once_and_falls_slowly() -> None:
    controller = Controller(0.7, 0.05)
    controller.learn(True)
    up = controller.threshold - 0.7
    assert up == pytest.approx(0.3 / 4 * 0.95)
    for _ in range(19):  # at the bound, one disagreement in 20 keeps it where it is
        assert controller.threshold > 0.7
        controller.learn(False)
    assert controller.threshold == pytest.approx(0.7)


def test_the_share_of_disagreements_approaches_the_risk() -> None:
    """The difficulty alternates; fewer wrong steps pass with a higher threshold."""
    luck, controller = Random(2), Controller(0.6, 0.1, lower=True)
    disagreements = 0
    for audit in range(20_000):
        hard = 0.8 if (audit // 2000) % 2 else 0.4
        disagrees = luck.random() < hard * (1 - controller.threshold)
        disagreements += disagrees
        controller.learn(disagrees)
    assert disagreements / 20_000 == pytest.approx(0.1, abs=0.01)
