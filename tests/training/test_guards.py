"""Each hack pays without its guard, and does not pay with it."""

from __future__ import annotations

import pytest

from dreamr.training import GUARDS, Rollout, Scheme
from dreamr.training.rewards import draft, length
from support.rollouts import reference, rollout

OWN = reference(steps=4, tokens=40)
QUESTION = "They buy milk and nuts and pay with 100. How much is left of the money then?"

HONEST = rollout(
    ("Milk costs 12.", "Nuts cost 6.", "Together 18.", "Left 82."),
    (0.9, 0.9, 0.2, 0.9),
    question=QUESTION,
    own=OWN,
)
HACKS: dict[str, Rollout] = {
    "giant": rollout(("all of it", "and done"), (0.9, 0.9), sizes=(70, 5), own=OWN),
    "filler": rollout(
        ("Milk costs 12.", "I think.", "I think.", "i think", "...", "Left 70."),
        (0.9, 0.9, 0.9, 0.9, 0.9, 0.2),
        own=OWN,
    ),
    "copies": rollout(
        (QUESTION, "So " + QUESTION, "Milk costs 12.", "Left 70."),
        (0.9, 0.9, 0.9, 0.2),
        question=QUESTION,
        own=OWN,
    ),
    "bare": rollout(("Left 82.",), (0.9,), own=OWN),
    "early": rollout(("Milk costs 12.", "Nuts cost 6."), (0.9, 0.9), finished=False, own=OWN),
}


def worth(one: Rollout, guards: tuple[str, ...]) -> float:
    return draft(one, [one], Scheme(guards=guards))


@pytest.mark.parametrize("guard", GUARDS)
def test_a_hack_pays_only_without_its_guard(guard: str) -> None:
    others = tuple(name for name in GUARDS if name != guard)
    honest = worth(HONEST, tuple(GUARDS))
    assert worth(HACKS[guard], others) >= honest
    assert worth(HACKS[guard], tuple(GUARDS)) < honest


def test_honest_reasoning_passes_all_guards() -> None:
    assert worth(HONEST, tuple(GUARDS)) == worth(HONEST, ()) == 0.75


def test_guessing_without_any_step_pays_only_without_guards() -> None:
    guess = rollout((), (), tokens=5, own=OWN)
    group = [guess, rollout(("a", "b", "c", "d"), sizes=[9] * 4, own=OWN)]
    assert length(guess, group, Scheme(guards=())) > length(group[1], group, Scheme())
    assert length(guess, group, Scheme()) == 0.0
    assert length(HACKS["bare"], [HACKS["bare"]], Scheme()) == 0.0


def test_a_short_question_cannot_be_copied_either() -> None:
    copy = rollout(("How many red circles?", "Two."), (0.9, 0.9), question="How many red circles?")
    assert worth(copy, ("copies",)) == 0.5


def test_more_commas_do_not_make_another_step() -> None:
    assert worth(rollout(("Row.", "Row,,.", "Row,,,,."), (0.9,) * 3), ("filler",)) == 1 / 3


def test_another_sign_is_another_step() -> None:
    assert worth(rollout(("x = 2", "x = -2"), (0.9, 0.9)), ("filler",)) == 1.0


def test_steps_far_beyond_the_targets_number_earn_nothing() -> None:
    padded = rollout([f"Fact {i}." for i in range(20)], [0.9] * 20, own=OWN)
    assert worth(padded, ()) == 1.0
    assert worth(padded, ("filler",)) == 8 / 20


def test_without_a_reference_only_rollouts_without_steps_are_bare() -> None:
    assert worth(rollout(("It is 3.",), (0.9,)), tuple(GUARDS)) == 1.0
    assert worth(rollout((), ()), tuple(GUARDS)) == 0.0
