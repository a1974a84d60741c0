from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.gate import Evidence, Labels, RatioGate, StepContext, stricter
from dreamr.steps import Ending, Step

CONTEXT = StepContext(Step("so\n\n", 2, Ending.DELIMITER), position=3)


def test_a_ratio_at_the_threshold_is_accepted() -> None:
    verdict = RatioGate(0.75).decide(Evidence(0.75, 0.25), CONTEXT)
    assert verdict.accepted
    assert (verdict.score, verdict.threshold) == (0.75, 0.75)
    assert verdict.evidence == Evidence(0.75, 0.25)


def test_a_ratio_below_the_threshold_is_rejected() -> None:
    assert not RatioGate().decide(Evidence(0.69, 0.31), CONTEXT).accepted


def test_the_ratio_counts_and_not_the_mass() -> None:
    assert RatioGate().decide(Evidence(0.08, 0.01), CONTEXT).accepted


@pytest.mark.parametrize(
    "evidence", [Evidence(0.0, 0.0), Evidence(0.009, 0.0), Evidence(math.nan, 0)]
)
def test_low_mass_is_missing_evidence(evidence: Evidence) -> None:
    verdict = RatioGate().decide(evidence, CONTEXT)
    assert not verdict.accepted
    assert "no evidence" in verdict.reason
    assert verdict.unanswered


def test_a_floor_of_mass_separates_an_answer_from_noise() -> None:
    noise = Evidence(0.3, 0.01)
    verdict = RatioGate(min_mass=0.5).decide(noise, CONTEXT)
    assert (verdict.accepted, verdict.unanswered) == (False, True)
    assert verdict.reason == "no evidence: label mass 0.31 below 0.5"
    assert RatioGate().decide(noise, CONTEXT).accepted


def test_a_verdict_carries_the_label_mass_if_the_target_was_asked() -> None:
    assert RatioGate().decide(Evidence(0.5, 0.25), CONTEXT).label_mass == 0.75
    assert RatioGate().decide(Evidence(0.0, 0.0, top_label=False), CONTEXT).label_mass == 0.0
    assert RatioGate().decide(Evidence(0.0, 0.0), CONTEXT).label_mass is None


def test_zero_mass_is_rejected_even_without_a_minimum() -> None:
    assert not RatioGate(0.0, min_mass=0.0).decide(Evidence(0.0, 0.0), CONTEXT).accepted


def test_a_cut_step_is_never_accepted() -> None:
    cut = StepContext(Step("so", 256, Ending.CAP), position=0)
    verdict = RatioGate(0.0).decide(Evidence(1.0, 0.0), cut)
    assert not verdict.accepted
    assert "cap" in verdict.reason


@pytest.mark.parametrize("wrong", [{"threshold": 1.1}, {"min_mass": -0.1}, {"threshold": math.nan}])
def test_values_outside_the_unit_interval_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        RatioGate(**wrong)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_support_never_turns_an_accept_into_a_reject(
    positive: float, negative: float, more: float, threshold: float
) -> None:
    gate = RatioGate(threshold)
    low = Evidence(min(positive, more), negative)
    high = Evidence(max(positive, more), negative)
    assert gate.decide(low, CONTEXT).accepted <= gate.decide(high, CONTEXT).accepted


def test_labels_have_the_usual_spellings() -> None:
    labels = Labels()
    assert labels.positive[0] == "positive"
    assert {"positive", "Positive", "POSITIVE", " positive", " Positive"} <= set(labels.positive)
    assert Labels.of("positive", "negative") == labels


@pytest.mark.parametrize(
    ("positive", "negative"), [((), ("no",)), (("yes",), (" ",)), (("yes", "no"), ("no",))]
)
def test_labels_that_cannot_be_told_apart_are_refused(
    positive: tuple[str, ...], negative: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"label|spelled"):
        Labels(positive, negative)


@given(st.floats(0, 1), st.integers(0, 8))
def test_the_threshold_rises_with_each_resample(threshold: float, resamples: int) -> None:
    assert threshold <= stricter(threshold, resamples) <= stricter(threshold, resamples + 1) <= 1
    again = StepContext(Step("Tea.\n\n", 2, Ending.DELIMITER), 0, resamples)
    verdict = RatioGate(threshold).decide(Evidence(threshold, 1 - threshold), again)
    assert verdict.threshold == pytest.approx(stricter(threshold, resamples))
    assert verdict.accepted == (verdict.score >= verdict.threshold)
