from __future__ import annotations

import math

import pytest

from dreamr.gate import CascadeGate, Evidence, LikelihoodGate, RatioGate, StepContext
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
CUT = StepContext(Step("Tea costs", 5, Ending.CAP), 0)


def known(min_margin: float, positive: float = 0.0, negative: float = 0.0) -> Evidence:
    return Evidence(positive, negative, mean_margin=0.95, min_margin=min_margin)


def test_a_step_that_the_target_is_confident_of_is_accepted() -> None:
    verdict = CascadeGate(target_confidence=0.3).decide(known(0.4), STEP)
    assert verdict.accepted
    assert verdict.score == 0.95


def test_the_ratio_decides_if_the_target_is_not_confident() -> None:
    gate = CascadeGate(0.7, target_confidence=0.3)
    assert gate.decide(known(0.1, 0.9, 0.1), STEP).accepted
    refused = gate.decide(known(0.2, 0.1, 0.9), STEP)
    assert (refused.accepted, refused.score) == (False, pytest.approx(0.1))


@pytest.mark.parametrize("positive", [0.1, 0.9])
def test_the_answer_counts_only_below_the_target_confidence(positive: float) -> None:
    gate = CascadeGate(0.7, target_confidence=0.3)
    answer = (positive, 1 - positive)
    assert gate.decide(known(0.4, *answer), STEP).accepted
    assert gate.decide(known(0.2, *answer), STEP).accepted == (positive > 0.7)


def test_missing_evidence_is_rejected() -> None:
    assert not CascadeGate(target_confidence=0.3).decide(known(0.2), STEP).accepted
    assert not CascadeGate(target_confidence=0.3).decide(Evidence(0.0, 0.0), STEP).accepted


def drafted(least: float | None, ending: Ending = Ending.DELIMITER) -> StepContext:
    return StepContext(Step("Tea costs 12.\n\n", 5, ending, least, least), 0)


def test_a_step_that_the_draft_is_confident_of_needs_no_target() -> None:
    gate = CascadeGate(draft_confidence=0.9)
    verdict = gate.decide_without_target(drafted(math.log(0.95)))
    assert verdict is not None
    assert (verdict.accepted, verdict.score, verdict.evidence) == (True, pytest.approx(0.95), None)
    assert gate.decide_without_target(drafted(math.log(0.85))) is None


def test_an_unknown_draft_probability_is_not_accepted() -> None:
    assert CascadeGate(draft_confidence=0.0).decide_without_target(drafted(None)) is None
    assert CascadeGate(draft_confidence=0.0).decide_without_target(drafted(math.nan)) is None
    assert CascadeGate(draft_confidence=0.0).decide_without_target(drafted(0.0, Ending.CAP)) is None


def test_draft_confidence_is_off_by_default() -> None:
    assert CascadeGate().decide_without_target(drafted(0.0)) is None
    assert RatioGate().decide_without_target(drafted(0.0)) is None


def test_a_cut_step_is_never_accepted() -> None:
    assert not CascadeGate(target_confidence=0.0).decide(known(1.0), CUT).accepted
    assert not LikelihoodGate(0.0).decide(known(1.0), CUT).accepted


def test_the_likelihood_is_compared_with_the_threshold() -> None:
    assert LikelihoodGate(0.95).decide(known(0.0), STEP).accepted
    assert not LikelihoodGate(0.96).decide(known(1.0), STEP).accepted
    unknown = LikelihoodGate(0.0).decide(Evidence(1.0, 0.0), STEP)
    assert not unknown.accepted
    assert "does not report" in unknown.reason


def test_each_gate_has_its_query() -> None:
    assert (
        CascadeGate(target_confidence=0.2).query.kind,
        CascadeGate(target_confidence=0.2).query.target_confidence,
    ) == ("verdict", 0.2)
    assert LikelihoodGate().query.kind == "agreement"


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_thresholds_are_between_0_and_1(value: float) -> None:
    with pytest.raises(ValueError, match="target_confidence"):
        CascadeGate(target_confidence=value)
    with pytest.raises(ValueError, match="draft_confidence"):
        CascadeGate(draft_confidence=value)
    with pytest.raises(ValueError, match="threshold"):
        LikelihoodGate(value)


def test_margins_that_are_not_numbers_leave_the_step_to_the_judge() -> None:
    broken = Evidence(0.1, 0.9, min_margin=math.nan, mean_margin=math.nan)
    verdict = CascadeGate().decide(broken, STEP)
    assert not verdict.accepted
    assert verdict.kind == "ratio"
