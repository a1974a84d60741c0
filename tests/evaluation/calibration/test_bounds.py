from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.calibration import binomial_tail, last_permitted, upper_bound


@given(st.integers(0, 30), st.integers(1, 30), st.floats(0.01, 0.99))
def test_the_tail_is_the_sum_of_its_terms(errors: int, cases: int, risk: float) -> None:
    errors = min(errors, cases)
    terms = (math.comb(cases, n) * risk**n * (1 - risk) ** (cases - n) for n in range(errors + 1))
    assert binomial_tail(errors, cases, risk) == pytest.approx(math.fsum(terms), abs=1e-9)


def test_no_error_in_a_thousand_cases_bounds_the_risk_by_three_in_a_thousand() -> None:
    assert upper_bound(0, 1000, 0.95) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-6)
    assert upper_bound(5, 5, 0.95) == 1.0


@given(st.integers(0, 20), st.integers(20, 500), st.floats(0.5, 0.99))
def test_at_the_bound_the_errors_are_just_possible(
    errors: int, cases: int, confidence: float
) -> None:
    bound = upper_bound(errors, cases, confidence)
    if bound < 1:
        assert binomial_tail(errors, cases, bound) == pytest.approx(1 - confidence, abs=1e-6)


def test_testing_stops_at_the_first_candidate_that_fails() -> None:
    last, tested = last_permitted([0, 1, 9, 0], 2000, 0.003, 0.95)
    assert last == 1
    assert [one.errors for one in tested] == [0, 1, 9, 0]
    assert tested[1].p < 0.05 < tested[2].p


def test_too_few_cases_permit_nothing() -> None:
    assert last_permitted([0, 0], 100, 0.003, 0.95)[0] is None


@pytest.mark.parametrize(("risk", "confidence"), [(0, 0.9), (1, 0.9), (0.1, 0), (0.1, 1)])
def test_bounds_are_shares(risk: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        last_permitted([0], 10, risk, confidence)


def test_the_bound_fails_no_more_often_than_the_confidence_allows() -> None:
    """Calibrate a thousand times on steps whose true risk at each threshold is known."""
    draws = np.random.default_rng(7)
    thresholds = np.linspace(0.99, 0.0, 40)
    cases, risk, confidence = 3000, 0.01, 0.9
    # One of 30 steps is wrong, with a uniform ratio. This gives the true risk in closed form.
    truth = (1 - thresholds) / 30
    broken = 0
    for _ in range(1000):
        wrong = draws.random(draws.binomial(cases, 1 / 30))
        errors = [int((wrong >= threshold).sum()) for threshold in thresholds]
        last, _ = last_permitted(errors, cases, risk, confidence)
        broken += last is not None and truth[last] > risk
    assert broken <= 1000 * (1 - confidence) + 3 * math.sqrt(1000 * confidence * (1 - confidence))
    assert broken > 0  # the bound is not too conservative


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.floats(0.005, 0.3))
def test_candidates_after_the_first_that_fails_do_not_matter(
    errors: list[int], risk: float
) -> None:
    whole, _ = last_permitted(errors, 400, risk, 0.9)
    for known in range(1, len(errors) + 1):
        last, _ = last_permitted(errors[:known], 400, risk, 0.9)
        if last != known - 1:
            break
    assert last == whole
