"""The gates of other methods decide as those methods do."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.gate import AgreementGate, Evidence, SameGate, ScoreGate, StepContext
from dreamr.steps import Ending, Step

PLAIN = StepContext(Step("Tea costs 3.\n\n", 5, Ending.DELIMITER), 0)
CUT = StepContext(Step("Tea costs", 5, Ending.CAP), 0)


def scored(**shares: float) -> Evidence:
    """Evidence from shares on digits, given as d9=0.8."""
    return Evidence(0, 0, scores=tuple(shares.get(f"d{digit}", 0.0) for digit in range(10)))


@pytest.mark.parametrize(
    ("least", "evidence", "accepted"),
    [
        (7, scored(d7=1.0), True),
        (7, scored(d6=1.0), False),
        (7, scored(d9=0.73, d0=0.27), True),
        (9, scored(d9=0.73, d0=0.27), False),
        (9, scored(d9=0.48, d8=0.02), True),
    ],
)
def test_a_score_is_the_mean_over_the_digits_rounded(
    least: int, evidence: Evidence, accepted: bool
) -> None:
    assert ScoreGate(least).decide(evidence, PLAIN).accepted is accepted


@given(st.lists(st.floats(0, 0.1), min_size=10, max_size=10))
def test_a_higher_score_never_accepts_what_a_lower_one_rejects(shares: list[float]) -> None:
    evidence = Evidence(0, 0, scores=tuple(shares))
    accepted = [ScoreGate(least).decide(evidence, PLAIN).accepted for least in range(10)]
    assert accepted == sorted(accepted, reverse=True)


@pytest.mark.parametrize("evidence", [Evidence(0, 0), scored(d9=0.001), scored(d9=nan)])
def test_without_a_score_a_step_is_rejected(evidence: Evidence) -> None:
    verdict = ScoreGate(0).decide(evidence, PLAIN)
    assert not verdict.accepted
    assert "no score" in verdict.reason


def test_a_cut_step_is_not_rated() -> None:
    assert not ScoreGate(0).decide(scored(d9=1.0), CUT).accepted
    assert not SameGate().decide(Evidence(1.0, 0.0), CUT).accepted


@pytest.mark.parametrize("least", [-1, 10])
def test_an_invalid_score_is_refused(least: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 9"):
        ScoreGate(least)


def test_equivalence_is_the_more_likely_label() -> None:
    assert SameGate().decide(Evidence(0.31, 0.3), PLAIN).accepted
    assert not SameGate().decide(Evidence(0.3, 0.31), PLAIN).accepted


def test_agreement_is_all_tokens_or_nothing() -> None:
    assert AgreementGate().decide(Evidence(0, 0, tokens=5, matched_tokens=5), PLAIN).accepted
    verdict = AgreementGate().decide(Evidence(0, 0, tokens=5, matched_tokens=4), PLAIN)
    assert not verdict.accepted
    assert verdict.score == 0.8
    assert not AgreementGate().decide(Evidence(0, 0), PLAIN).accepted
