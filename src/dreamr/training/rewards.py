"""Reward of a rollout in SAPO (arXiv 2605.28678): R = w1 outcome + w2 draft + w3 length.

The term `places` is not in the paper: pages, images, frames and times must be the right ones. A
term is a function of a rollout, its group and the scheme, registered in `TERMS`. The built-in terms
are in [0, 1]. `add_term` registers more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import fmean
from typing import Literal, TypeAlias, get_args

from dreamr.errors import DreamrError
from dreamr.evaluation.tasks import NamedPlace
from dreamr.training.guards import GUARDS, earning, reasons
from dreamr.training.rollout import Group, Rollout

UNKNOWN = 0.5  # value of a place of which only is known that it exists
Counting: TypeAlias = Literal["steps", "tokens", "soft", "prefix"]


class BadReward(DreamrError):
    """A reward that cannot be used: an unknown term, bad weights or a value that is not finite."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Definition of the reward.

    Attributes:
        weights: Weights of the terms by name, each at least 0; 1:1:1 is best in the paper.
        counting: How the draft term counts accepted steps; see `draft`.
        guards: Names of the active guards.

    Raises:
        BadReward: If a name is unknown, a weight is negative or not finite, or no weight is
            above 0.
    """

    weights: Mapping[str, float] = field(
        default_factory=lambda: {"outcome": 1.0, "draft": 1.0, "length": 1.0}
    )
    counting: Counting = "steps"
    guards: Collection[str] = tuple(GUARDS)

    def __post_init__(self) -> None:
        _check_names("reward term", self.weights, TERMS)
        _check_names("guard", self.guards, GUARDS)
        _check_names("counting", [self.counting], get_args(Counting))
        values = self.weights.values()
        if not all(math.isfinite(value) and value >= 0 for value in values) or not any(values):
            raise BadReward("weights must be finite and at least 0, and one must be greater than 0")

    def terms(self, rollout: Rollout, group: Group) -> dict[str, float]:
        """Compute the unweighted terms of one rollout.

        Args:
            rollout: Rollout to score.
            group: All rollouts of the same problem, including this one.

        Raises:
            BadReward: If a term is not finite.
        """
        found = {name: TERMS[name](rollout, group, self) for name in self.weights}
        for name, value in found.items():
            if not math.isfinite(value):
                raise BadReward(
                    f"reward term {name!r} is {value} for {rollout.question[:60]!r}: "
                    "a term must be a finite number for every completion"
                )
        return found

    def total(self, terms: Mapping[str, float]) -> float:
        """Return the reward: the weighted sum of the terms."""
        return sum(weight * terms[name] for name, weight in self.weights.items())


Term: TypeAlias = Callable[[Rollout, Group, Scheme], float]


def outcome(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """Return 1 for a right answer, else 0."""
    return float(rollout.right)


def draft(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """Return the share of the draft's steps that the target accepts; 0 without steps.

    Steps that a guard has caught count as rejected. `scheme.counting` is one of:

    - 'steps': all steps count the same, as in the paper
    - 'tokens': steps are weighted by their tokens
    - 'soft': the score of the verdict instead of 0 or 1
    - 'prefix': steps after the first rejected one count as rejected, as in a run
    """
    values = accepted(rollout, scheme)
    if not values:
        return 0.0
    match scheme.counting:
        case "tokens":
            sizes = [step.tokens for step in rollout.steps]
            return sum(v * n for v, n in zip(values, sizes, strict=True)) / max(1, sum(sizes))
        case "prefix":
            return len(list(takewhile(bool, values))) / len(values)
        case _:
            return sum(values) / len(values)


def length(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """Return max(0, 1 - n / 2m) for a right answer of n tokens; 0 for other answers.

    m is the expected length: the mean length of the group's right answers, averaged with the
    length of the target's own solution if that is right. An answer of length m earns 0.5, one of
    length 2m nothing. Wrong answers earn nothing, so no weight makes short answers worth more
    than right ones. Answers without reasoning (see `reasons`) earn nothing either.
    """
    if not (rollout.right and reasons(rollout, scheme.guards)):
        return 0.0
    others = [other.tokens for other in group if other.right]
    needed = sum(others) / len(others)
    if (reference := rollout.reference) is not None and reference.right:
        needed = (needed + reference.tokens) / 2
    return max(0.0, 1.0 - rollout.tokens / (2 * needed))


def places(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """Return the mean value of the pages, images, frames and times that the steps name.

    A right one is worth 1, a wrong one 0, and one of which only is known that it exists 1/2, as
    much as a rollout that names none. So a draft gains nothing by naming what happens to exist,
    and loses by naming what does not. See `place_values`.
    """
    values = [value for step in place_values(rollout, scheme) for value in step]
    return fmean(values) if values else UNKNOWN


# The names of the paper's terms come first: `--weights` takes weights in this order.
TERMS: dict[str, Term] = {"outcome": outcome, "draft": draft, "length": length, "places": places}
BUILT_IN = tuple(TERMS)


def add_term(name: str, term: Term) -> None:
    """Register a reward term under a name that `Scheme.weights` and `--weights` can use.

    Args:
        name: Name of the term.
        term: Function of a rollout, its group and the scheme; must return a finite number.

    Raises:
        BadReward: If another term has this name.
    """
    if TERMS.setdefault(name, term) is not term:
        raise BadReward(f"reward term {name!r} already exists: choose another name")


def accepted(rollout: Rollout, scheme: Scheme) -> list[float]:
    """Return the value of each step: 1 or 0, or its score with 'soft'; 0 if a guard caught it."""
    earns = earning(rollout, scheme.guards)
    soft = scheme.counting == "soft"
    return [
        (verdict.score if soft else float(verdict.accepted)) if earned else 0.0
        for verdict, earned in zip(rollout.verdicts, earns, strict=True)
    ]


def place_values(rollout: Rollout, scheme: Scheme) -> list[list[float]]:
    """Return the values of the places that each step names: 1, 0, or `UNKNOWN`.

    A place counts each time it is wrong, but otherwise only once in a rollout and not in steps that
    a guard has caught, so that repeating a right place gains nothing.
    """
    earns = earning(rollout, scheme.guards)
    counted: set[tuple[NamedPlace, bool | None]] = set()
    found = []
    for earned, checks in zip(earns, rollout.place_checks(), strict=True):
        new = {check for check in checks.items() if check not in counted} if earned else set()
        counted |= new
        values = [UNKNOWN if right is None else 1.0 for _, right in new if right is not False]
        found.append(values + [0.0 for right in checks.values() if right is False])
    return found


def _check_names(what: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise BadReward(f"unknown {what} {name!r}: choose from {', '.join(known)}")
