"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._numbers import three_digits


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.01234, "0.0123"), (34.04, "34"), (999.4, "999"), (999.6, "1000")],
)
def test_a_number_has_three_digits(value: float, shown: str) -> None:
    assert three_digits(value) == shown


@given(st.floats(-1e9, 1e9).filter(lambda value: abs(value) > 1e-3))
def test_no_large_number_has_an_exponent(value: float) -> None:
    shown = three_digits(value)
    assert "e" not in shown
    assert math.isclose(float(shown), value, rel_tol=0.005)
