from __future__ import annotations

import math

import pytest

from dreamr.gate import SIGNALS, Evidence, LearnedGate, Situation, signals
from dreamr.steps import Ending, Step

STEP = Situation(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 3)
WORDS = Situation(Step("So it is.\n\n", 5, Ending.DELIMITER), 0)
SURE = Evidence(0.9, 0.1, least=-2.0, continuation=0.5, weakest=0.5)


def test_signals_are_logits_and_what_is_unknown_is_nothing() -> None:
    found = dict(zip(SIGNALS, signals(SURE, STEP), strict=True))
    assert found["ratio"] == pytest.approx(math.log(9))
    assert found["continuation"] == found["weakest"] == 0
    assert (found["least"], found["number"]) == (-2.0, 1.0)
    assert found["length"] == pytest.approx(math.log(6))
    assert (found["agreed"], found["drafted"], found["retries"]) == (0, 0, 0)
    drafted = Situation(Step("Tea.\n\n", 2, Ending.DELIMITER, -0.2, math.log(0.9)), 0, retries=1)
    known = Evidence(0.9, 0.1, tokens=4, agreed=3)
    found = dict(zip(SIGNALS, signals(known, drafted), strict=True))
    assert (found["agreed"], found["retries"]) == (0.75, math.log(2))
    assert found["drafted"] == pytest.approx(math.log(9))
    unknown = dict(zip(SIGNALS, signals(Evidence(0.9, 0.1), WORDS), strict=True))
    assert (unknown["continuation"], unknown["least"], unknown["number"]) == (0, 0, 0)
    assert all(math.isfinite(value) for value in signals(Evidence(0.0, 0.0, weakest=0.0), WORDS))


def test_a_step_is_accepted_by_its_probability() -> None:
    weights = [0.0] * len(SIGNALS)
    weights[0] = 1.0
    gate = LearnedGate(tuple(weights), 0.0, 0.85)
    assert gate.probability(SURE, STEP) == pytest.approx(0.9)
    assert gate.decide(SURE, STEP).accepted
    assert not LearnedGate(tuple(weights), 0.0, 0.95).decide(SURE, STEP).accepted
    assert not gate.decide(Evidence(0.0, 0.0), STEP).accepted


def test_a_cut_step_is_never_accepted() -> None:
    cut = Situation(Step("Tea costs", 5, Ending.CAP), 0)
    assert not LearnedGate((0.0,) * len(SIGNALS), 50.0, 0.1).decide(SURE, cut).accepted


def test_weights_are_those_of_the_signals() -> None:
    with pytest.raises(ValueError, match="weights"):
        LearnedGate((1.0,), 0.0)
    with pytest.raises(ValueError, match="threshold"):
        LearnedGate((0.0,) * len(SIGNALS), 0.0, 1.1)
