from __future__ import annotations

import math

import pytest

from dreamr.gate import SIGNALS, Evidence, LearnedGate, StepContext, signals
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 3)
WORDS = StepContext(Step("So it is.\n\n", 5, Ending.DELIMITER), 0)
SURE = Evidence(0.9, 0.1, min_logprob=-2.0, mean_margin=0.5, min_margin=0.5)


def test_signals_are_logits_and_0_if_unknown() -> None:
    found = dict(zip(SIGNALS, signals(SURE, STEP), strict=True))
    assert found["ratio"] == pytest.approx(math.log(9))
    assert found["mean_margin"] == found["min_margin"] == 0
    assert (found["min_logprob"], found["number"]) == (-2.0, 1.0)
    assert found["length"] == pytest.approx(math.log(6))
    assert (found["matched_tokens"], found["draft_probability"], found["resamples"]) == (0, 0, 0)
    drafted = StepContext(
        Step("Tea.\n\n", 2, Ending.DELIMITER, -0.2, math.log(0.9)), 0, resamples=1
    )
    known = Evidence(0.9, 0.1, tokens=4, matched_tokens=3)
    found = dict(zip(SIGNALS, signals(known, drafted), strict=True))
    assert (found["matched_tokens"], found["resamples"]) == (0.75, math.log(2))
    assert found["draft_probability"] == pytest.approx(math.log(9))
    unknown = dict(zip(SIGNALS, signals(Evidence(0.9, 0.1), WORDS), strict=True))
    assert (unknown["mean_margin"], unknown["min_logprob"], unknown["number"]) == (0, 0, 0)
    assert all(math.isfinite(value) for value in signals(Evidence(0.0, 0.0, min_margin=0.0), WORDS))


def test_a_step_is_accepted_by_its_probability() -> None:
    weights = [0.0] * len(SIGNALS)
    weights[0] = 1.0
    gate = LearnedGate(tuple(weights), 0.0, 0.85)
    assert gate.probability(SURE, STEP) == pytest.approx(0.9)
    assert gate.decide(SURE, STEP).accepted
    assert not LearnedGate(tuple(weights), 0.0, 0.95).decide(SURE, STEP).accepted
    assert not gate.decide(SURE, STEP).unanswered
    assert not gate.decide(Evidence(0.0, 0.0), STEP).accepted
    assert gate.decide(Evidence(0.0, 0.0), STEP).unanswered


def test_a_cut_step_is_never_accepted() -> None:
    cut = StepContext(Step("Tea costs", 5, Ending.CAP), 0)
    assert not LearnedGate((0.0,) * len(SIGNALS), 50.0, 0.1).decide(SURE, cut).accepted


def test_weights_are_those_of_the_signals() -> None:
    with pytest.raises(ValueError, match="weights"):
        LearnedGate((1.0,), 0.0)
    with pytest.raises(ValueError, match="threshold"):
        LearnedGate((0.0,) * len(SIGNALS), 0.0, 1.1)
