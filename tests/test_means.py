"""Means that follow their latest values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._means import moving_mean

VALUES = st.floats(-1e6, 1e6)


def test_the_first_value_is_the_mean() -> None:
    assert moving_mean(None, 3.0, 0.1) == 3.0
    assert moving_mean(None, None, 0.1) is None


def test_a_mean_stays_where_nothing_was_measured() -> None:
    assert moving_mean(3.0, None, 0.1) == 3.0


@given(VALUES, VALUES, st.floats(0.01, 1))
def test_a_value_moves_the_mean_by_its_weight(mean: float, value: float, weight: float) -> None:
    moved = moving_mean(mean, value, weight)
    assert moved == pytest.approx((1 - weight) * mean + weight * value, abs=1e-6)
