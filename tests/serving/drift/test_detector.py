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
def test_without_drift_false_alarms_are_as_far_apart_as_stated(risk: float) -> None:
    """At the bound itself, where they are most frequent; runs are cut, which only shortens them."""
    luck = Random(3)
    lengths = [
        audits_until_alarm(risk, luck, 1000, risk=risk, false_alarm=0.01) for _ in range(400)
    ]
    assert fmean(lengths) >= 100
    assert min(lengths) < 1000  # it is not deaf


@pytest.mark.parametrize(("risk", "within"), [(0.02, 300), (0.05, 130), (0.3, 40)])
def test_three_times_as_many_disagreements_are_found_soon(risk: float, within: int) -> None:
    luck = Random(5)
    lengths = sorted(audits_until_alarm(3 * risk, luck, 5000, risk=risk) for _ in range(200))
    assert median(lengths) <= within
    assert lengths[189] <= 2.5 * within  # 19 of 20


def test_a_shift_is_found_as_soon_after_long_peace() -> None:
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


def test_an_alarm_falls_when_the_drift_is_over_and_not_while_it_lasts() -> None:
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
def test_as_long_as_the_rate_is_within_the_bound_one_more_audit_adds_nothing_on_average(
    risk: float, history: list[bool], data: st.DataObject
) -> None:
    """What the false alarms' bound rests on, whatever happened before."""
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
def test_bounds_are_shares(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Detector(**wrong)
