from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.training import Rollout, Scheme
from dreamr.training.credit import credits, spread
from support.rollouts import rollout

GROUP = [
    rollout(("a", "b", "c"), (0.9, 0.9, 0.9)),
    rollout(("a", "b", "x"), (0.9, 0.9, 0.1)),
    rollout(("a", "y", "c"), (0.9, 0.1, 0.9)),
    rollout(("a", "b", "c"), (0.9, 0.9, 0.9)),
]


def test_a_step_is_compared_with_siblings_after_the_same_steps() -> None:
    third = pytest.approx(1 / 3), pytest.approx(-2 / 3)
    assert credits(GROUP, Scheme()) == [
        [0.0, 0.25, third[0]],
        [0.0, 0.25, third[1]],
        [0.0, -0.75],
        [0.0, 0.25, third[0]],
    ]


def test_steps_after_a_rejected_one_get_no_credit() -> None:
    one = GROUP[2]
    tokens = spread(one, credits(GROUP, Scheme())[2], 17)
    assert tokens == [0.0] * 5 + [-0.75] * 5 + [0.0] * 7


def test_a_step_without_siblings_is_compared_with_the_whole_group() -> None:
    alone = [rollout(("a", "b"), (0.9, 0.9)), rollout(("x", "b"), (0.9, 0.1))]
    assert credits(alone, Scheme()) == [[0.0, 0.25], [0.0, -0.75]]


def test_credit_is_scaled_by_the_weight_of_the_draft_term() -> None:
    scheme = Scheme({"outcome": 1.0, "draft": 2.0})
    assert credits(GROUP, scheme)[2][1] == -1.5
    assert credits(GROUP, Scheme({"outcome": 1.0}))[2][1] == 0.0


def test_credit_covers_truncated_completions_and_ones_without_steps() -> None:
    empty = rollout((), ())
    assert credits([empty], Scheme()) == [[]]
    assert spread(empty, [], 3) == [0.0] * 3
    assert len(spread(GROUP[0], credits(GROUP, Scheme())[0], 7)) == 7


groups = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=5).map(
        lambda steps: rollout([text for text, _ in steps], [0.9 if ok else 0.1 for _, ok in steps])
    ),
    min_size=1,
    max_size=8,
)


@given(groups)
def test_credit_is_bounded_and_zero_for_identical_rollouts(group: list[Rollout]) -> None:
    scheme = Scheme(guards=())
    for earned in credits(group, scheme):
        assert all(-1.0 <= value <= 1.0 for value in earned)
    same = [group[0]] * 4
    assert not any(any(earned) for earned in credits(same, scheme))
