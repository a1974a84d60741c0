"""Requests at the same time: more while that pays, fewer when there is no room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.batch import Concurrency


def settle(concurrency: Concurrency, bears: int, answers: int = 3000) -> list[int]:
    """Return the limits over time, against an engine whose rate grows up to a number."""
    now, limits = 0.0, []
    for _ in range(answers):
        now += 1.0 / min(concurrency.limit, bears)
        concurrency.answered(now)
        limits.append(concurrency.limit)
    return limits


def test_the_number_grows_to_what_the_engine_bears() -> None:
    for bears in (8, 20, 64):
        limits = settle(Concurrency(64), bears)
        usual = sorted(limits[1000:])[1000]
        assert bears / 1.5 <= usual <= bears * 1.5


def test_an_engine_that_answers_one_at_a_time_is_not_flooded() -> None:
    limits = settle(Concurrency(64), bears=1)
    assert max(limits) <= 6
    assert sorted(limits)[len(limits) // 2] <= 4


def test_a_refusal_halves_the_number_and_it_grows_again() -> None:
    concurrency = Concurrency(64)
    settle(concurrency, 64)
    before = concurrency.limit
    concurrency.refused()
    assert concurrency.limit == before // 2
    assert max(settle(concurrency, 64)) > before // 2


@given(
    st.integers(1, 100),
    st.lists(st.one_of(st.none(), st.floats(0.0, 10.0)), max_size=300),
)
def test_the_number_stays_within_its_bounds(most: int, steps: list[float | None]) -> None:
    concurrency, now = Concurrency(most), 0.0
    for step in steps:
        if step is None:
            concurrency.refused()
        else:
            now += step
            concurrency.answered(now)
        assert 1 <= concurrency.limit <= most
