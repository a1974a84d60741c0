"""Closed forms compared with known figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.simulator import closed_loop as _closed

shares = st.floats(0.0, 0.99)
costs = st.floats(0.02, 0.45)


@pytest.mark.parametrize(
    ("a", "speculative", "parallel"), [(0.526, 1.54, 1.86), (0.7, 2.11, 2.58), (0.9, 3.64, 4.70)]
)
def test_sequential_and_fpsr_give_the_known_figures(
    a: float, speculative: float, parallel: float
) -> None:
    assert _closed.sequential(a, 0.125, 0.05) == pytest.approx(speculative, abs=0.01)
    assert _closed.fpsr(a, 0.125) == pytest.approx(parallel, abs=0.01)


@pytest.mark.parametrize(("k", "figure"), [(1, 2.03), (2, 2.85), (3, 3.24), (4, 3.33)])
def test_a_wider_window_hides_slow_judge_calls(k: int, figure: float) -> None:
    assert _closed.fpsr_ahead(0.8, 0.125, 0.3, k) == pytest.approx(figure, abs=0.01)


@given(shares, costs, st.integers(1, 8))
def test_all_forms_of_fpsr_agree_if_judge_calls_are_free(a: float, c: float, k: int) -> None:
    hidden = _closed.fpsr(a, c)
    assert _closed.fpsr_ahead(a, c, 0.0, k) == pytest.approx(hidden, rel=1e-6)
    assert _closed.fpsr_frontier(a, c, 0.0, k) == pytest.approx(hidden, rel=1e-6)


@given(shares, costs, st.floats(0, 0.5), st.integers(1, 8))
def test_a_wider_window_is_never_slower_and_the_bound_holds(
    a: float, c: float, v: float, k: int
) -> None:
    wide, narrow = _closed.fpsr_frontier(a, c, v, k + 1), _closed.fpsr_frontier(a, c, v, k)
    assert narrow <= wide * (1 + 1e-9)
    assert wide <= _closed.fpsr_ahead(a, c, v, k + 1) * (1 + 1e-9)
    assert wide <= _closed.bound(a) * (1 + 1e-9)
    assert _closed.sequential(a, c, v) <= narrow * (1 + 1e-9)


@pytest.mark.parametrize(("a", "figure"), [(0.526, 1.79), (0.7, 2.30), (0.9, 3.25)])
def test_lookahead_to_a_depth_of_four(a: float, figure: float) -> None:
    assert _closed.lookahead_async(a, 0.125, 0.0, 4) == pytest.approx(figure, abs=0.01)


def test_lookahead_in_rounds_of_one_is_no_faster_than_the_target() -> None:
    assert _closed.lookahead(0.7, 0.125, 1) == pytest.approx(1.0)
    assert _closed.lookahead(1.0, 0.125, 4) == pytest.approx(4 / 1.375)


@given(shares, costs)
def test_deep_lookahead_approaches_the_form_without_a_depth(a: float, c: float) -> None:
    deep = _closed.lookahead_async(a, c, 0.0, round(1 / c) + 1)
    assert deep == pytest.approx(_closed.lookahead_async(a, c), rel=0.02)
    assert _closed.lookahead_async(a, c) == pytest.approx(_closed.fpsr(a, c))


def test_without_rejections_the_slower_of_draft_and_judge_sets_the_speed() -> None:
    assert _closed.fpsr_frontier(1.0, 0.1, 0.05, 8) == pytest.approx(10, rel=1e-3)
    assert _closed.fpsr_frontier(1.0, 0.1, 0.4, 1) == pytest.approx(2, rel=1e-3)


def test_a_method_without_a_closed_form_gives_none() -> None:
    assert _closed.of_method("parse", 0.5, 0.1, 0.1, 4) is None
    assert _closed.of_method("target", 0.5, 0.1, 0.1, 4) == 1.0
