from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.training import TERMS, BadReward, Group, Rollout, Scheme, add_term
from dreamr.training.rewards import accepted, draft, length, outcome
from support.rollouts import reference, rollout

MIXED = rollout(("a", "b", "c", "d"), (0.9, 0.8, 0.2, 0.9), sizes=(10, 2, 2, 2))

rollouts = st.builds(
    lambda pairs, right, finished, extra: rollout(
        [f"step {i}" for i in range(len(pairs))],
        [ratio for ratio, _ in pairs],
        sizes=[size for _, size in pairs],
        tokens=sum(size for _, size in pairs) + extra,
        right=right and finished,
        finished=finished,
        own=reference(),
    ),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), max_size=9),
    st.booleans(),
    st.booleans(),
    st.integers(1, 20),
)


def test_outcome_is_the_tasks_own_scorer() -> None:
    group = [rollout(right=True), rollout(right=False)]
    assert [outcome(one, group, Scheme()) for one in group] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("counting", "worth"),
    [("steps", 3 / 4), ("tokens", 14 / 16), ("soft", 2.8 / 4), ("prefix", 2 / 4)],
)
def test_draft_counts_accepted_steps_in_four_ways(counting: str, worth: float) -> None:
    assert draft(MIXED, [MIXED], Scheme(counting=counting)) == pytest.approx(worth)  # type: ignore[arg-type]


def test_the_draft_term_is_zero_without_steps() -> None:
    assert draft(rollout(()), [], Scheme(guards=())) == 0.0


def test_length_is_a_half_at_the_expected_length_and_zero_at_twice_that() -> None:
    own = reference(tokens=40)
    usual, long, short = (rollout(tokens=n, own=own) for n in (40, 80, 20))
    assert length(usual, [usual], Scheme()) == pytest.approx(0.5)
    assert length(long, [usual, long], Scheme()) < length(usual, [usual, long], Scheme())
    group = [usual, usual, usual, short]
    assert length(short, group, Scheme()) > length(usual, group, Scheme()) > 0.4
    assert length(rollout(tokens=400, own=own), [usual] * 99 + [long], Scheme()) == 0.0


def test_the_expected_length_depends_on_the_group_and_the_reference() -> None:
    one = rollout(tokens=30, own=reference(tokens=60))
    longer = rollout(tokens=60, own=reference(tokens=60))
    assert length(one, [one, longer], Scheme()) > length(one, [one], Scheme())
    tight = rollout(tokens=30, own=reference(tokens=20))
    assert length(tight, [tight], Scheme()) < length(one, [one], Scheme())


def test_a_wrong_reference_does_not_change_the_expected_length() -> None:
    one = rollout(tokens=30, own=reference(tokens=8, right=False))
    assert length(one, [one], Scheme()) == pytest.approx(0.5)


@given(st.lists(rollouts, min_size=1, max_size=6), st.floats(0.1, 10))
def test_terms_are_bounded_and_being_short_is_never_worth_more_than_being_right(
    group: list[Rollout], weight: float
) -> None:
    scheme = Scheme({"outcome": 1.0, "draft": 1.0, "length": weight})
    for one in group:
        terms = scheme.terms(one, group)
        assert all(0.0 <= value <= 1.0 for value in terms.values())
        assert one.right or terms["length"] == 0.0


def test_a_term_can_be_added_by_name() -> None:
    def calm(one: Rollout, group: Group, scheme: Scheme) -> float:
        return 0.25

    try:
        add_term("calm", calm)
        assert Scheme({"calm": 2.0}).terms(MIXED, [MIXED]) == {"calm": 0.25}
        with pytest.raises(BadReward, match="'outcome' already exists"):
            add_term("outcome", calm)
    finally:
        TERMS.pop("calm", None)


def test_a_term_that_is_not_finite_is_named() -> None:
    try:
        add_term("broken", lambda one, group, scheme: math.nan)
        with pytest.raises(BadReward, match="'broken' is nan for 'What is it"):
            Scheme({"broken": 1.0}).terms(MIXED, [MIXED])
    finally:
        TERMS.pop("broken", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"weights": {"beauty": 1.0}},
            "unknown reward term 'beauty': choose from outcome, draft, length",
        ),
        ({"weights": {"outcome": 0.0}}, "one must be greater than 0"),
        ({"weights": {"outcome": math.nan}}, "must be finite"),
        ({"guards": ["police"]}, "unknown guard 'police'"),
        ({"counting": "luck"}, "unknown counting 'luck'"),
    ],
)
def test_an_invalid_scheme_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(BadReward, match=message):
        Scheme(**given)  # type: ignore[arg-type]


def test_soft_acceptance_is_the_score() -> None:
    assert accepted(MIXED, Scheme(counting="soft")) == [0.9, 0.8, 0.2, 0.9]
