from __future__ import annotations

from random import Random
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.drift import Detector


def audits_until_alarm(rate: float, luck: Random, most: int, **more: float) -> int:
    detector = Detector(**more)
    for audits in range(1, most + 1):
        detector.learn(luck.random() < rate)
        if detector.alarm:
            return audits
    return most


@pytest.mark.parametrize("risk", [0.02, 0.05, 0.3])
def test_false_alarms_are_as_rare_as_stated(risk: float) -> None:
    """Measured at the bound, where false alarms are most frequent; cutting runs shortens them."""
    luck = Random(3)
    lengths = [
        audits_until_alarm(risk, luck, 1000, risk=risk, false_alarm=0.01) for _ in range(400)
    ]
    assert fmean(lengths) >= 100
    assert min(lengths) < 1000  # it does raise alarms


@pytest.mark.parametrize(("risk", "within"), [(0.02, 300), (0.05, 130), (0.3, 40)])
def test_three_times_as_many_disagreements_are_found_soon(risk: float, within: int) -> None:
    luck = Random(5)
    lengths = sorted(audits_until_alarm(3 * risk, luck, 5000, risk=risk) for _ in range(200))
    assert median(lengths) <= within
    assert lengths[189] <= 2.5 * within  # 19 of 20


def test_a_shift_is_found_as_soon_after_a_long_time_without_drift() -> None:
    luck, delays = Random(7), []
    for _ in range(50):
        detector = Detector(0.05)
        for _ in range(2000):
            detector.learn(luck.random() < 0.01)
        assert not detector.alarm
        audits = 0
        while not detector.alarm:
            detector.learn(luck.random() < 0.15)
            audits += 1
        delays.append(audits)
    assert median(delays) <= 130


def test_an_alarm_ends_after_the_drift_and_not_during_it() -> None:
    luck, detector = Random(1), Detector(0.05)
    while not detector.alarm:
        detector.learn(luck.random() < 0.2)
    for _ in range(500):
        detector.learn(luck.random() < 0.2)
        assert detector.alarm
    audits = 0
    while detector.alarm:
        detector.learn(luck.random() < 0.02)
        audits += 1
    assert audits <= 10 / 0.05


@given(st.floats(0.001, 0.999), st.lists(st.booleans(), max_size=50), st.data())
def test_within_the_bound_the_expected_evidence_does_not_grow(
    risk: float, history: list[bool], data: st.DataObject
) -> None:
    """The bound on false alarms rests on this, for any history."""
    rate = data.draw(st.floats(0, risk))
    expected = 0.0
    for disagrees, chance in ((True, rate), (False, 1 - rate)):
        detector = Detector(risk, 1e-300)
        for before in history:
            detector.learn(before)
        base = sum(max(1.0, one) for one in detector._evidence) / len(detector._evidence)
        detector.learn(disagrees)
        expected += chance * detector.evidence
    assert expected <= base * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [{"risk": 0.0}, {"risk": 1.0}, {"risk": 0.1, "false_alarm": 0.0}])
def test_bounds_must_be_shares(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Detector(**wrong)
