"""Estimates: known values and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.report.statistics import (
    Estimate,
    mean,
    median_ratio,
    paired_difference,
    percentile,
    ratio_of_sums,
    wilson,
)

positive = st.floats(0.01, 100.0)
pairs = st.lists(st.tuples(positive, positive), min_size=1, max_size=30)
verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0, 0.1611),
        (29, 29, 0.8830, 1.0),
        (95, 100, 0.8882, 0.9785),
    ],
)
def test_the_score_interval_has_the_published_values(hits, count, low, high):
    share = wilson(hits, count)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500), st.data())
def test_a_share_lies_in_its_interval_and_the_interval_in_0_to_1(count, data):
    share = wilson(data.draw(st.integers(0, count)), count)
    assert 0.0 <= share.low <= share.value <= share.high <= 1.0


@given(verdicts)
def test_swapping_the_methods_negates_the_difference(rows):
    base, own = columns(rows)
    there, back = paired_difference(base, own), paired_difference(own, base)
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_methods_that_agree_everywhere_still_have_an_uncertain_difference():
    difference = paired_difference([True] * 100, [True] * 100)
    assert difference.value == 0.0
    assert difference.low == -difference.high
    assert 0.02 < difference.high < 0.03


def test_pairing_narrows_the_interval_of_a_difference():
    base = [True] * 80 + [False] * 20
    agreeing = paired_difference(base, [*base[:-1], True])
    crossing = paired_difference(base, [False] * 19 + [True] * 81)
    assert agreeing.value == crossing.value
    assert agreeing.high - agreeing.low < (crossing.high - crossing.low) / 2


def test_intervals_of_differences_have_their_stated_coverage():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        base = rng.random(120) < 0.8
        own = np.where(rng.random(120) < 0.1, rng.random(120) < 0.5, base)
        truth = 0.1 * (0.5 - 0.8)
        difference = paired_difference(base, own)
        inside += difference.low <= truth <= difference.high
    assert 0.92 <= inside / 400 <= 0.99


@given(pairs, st.floats(0.1, 10.0))
def test_ratios_do_not_depend_on_the_unit(rows, unit):
    top, bottom = columns(rows)
    scaled = [unit * value for value in top], [unit * value for value in bottom]
    for ratio in (ratio_of_sums, median_ratio):
        here, there = ratio(top, bottom), ratio(*scaled)
        assert (here.value, here.low, here.high) == pytest.approx(
            (there.value, there.low, there.high)
        )


@given(pairs)
def test_intervals_of_ratios_stay_between_the_extremes(rows):
    top, bottom = columns(rows)
    ratios = np.divide(top, bottom)
    for ratio in (ratio_of_sums, median_ratio):
        found = ratio(top, bottom)
        assert min(ratios) * 0.999 <= found.low <= found.high <= max(ratios) * 1.001


def test_one_long_problem_moves_the_ratio_of_sums_and_not_the_median():
    top, bottom = [2.0] * 20 + [100.0], [1.0] * 20 + [100.0]
    assert ratio_of_sums(top, bottom).value == pytest.approx(140 / 120)
    assert median_ratio(top, bottom).value == 2.0


def test_the_same_samples_give_the_same_interval():
    rng = np.random.default_rng(0)
    top, bottom = rng.random(50) + 1, rng.random(50) + 1
    assert ratio_of_sums(top, bottom) == ratio_of_sums(top, bottom)


def test_a_mean_has_a_narrower_interval_than_its_parts():
    estimate = Estimate(2.0, 1.8, 2.3)
    found = mean([estimate] * 4)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 1.9, 2.15))
    assert mean([estimate]) == Estimate(*map(pytest.approx, (2.0, 1.8, 2.3)))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: wilson(0, 0),
        lambda: paired_difference([], []),
        lambda: ratio_of_sums([1.0], [1.0, 2.0]),
        lambda: ratio_of_sums([1.0], [0.0]),
        lambda: median_ratio([1.0, 1.0], [1.0, 0.0]),
        lambda: mean([]),
    ],
)
def test_an_estimate_without_data_is_refused(broken):
    with pytest.raises(ValueError, match=r"at least one|other than 0|equal length"):
        broken()


def test_percentiles_are_interpolated():
    assert percentile([1.0, 2.0], 50) == 1.5
