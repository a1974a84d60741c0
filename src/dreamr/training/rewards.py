"""What a rollout is worth: SAPO's reward (arXiv 2605.28678), R = w1 outcome + w2 draft + w3 length.

Each term is a plain function of a rollout and its group, named in `TERMS`; more can be added.
All of ours lie in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, TypeAlias, get_args

from dreamr.errors import DreamrError
from dreamr.training.guards import GUARDS, earning, reasons
from dreamr.training.rollout import Group, Rollout

Counting: TypeAlias = Literal["steps", "tokens", "soft", "prefix"]


class BadReward(DreamrError):
    """A term that is unknown, or gave what is no reward."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which terms count, and how much.

    weights: of the terms by their names; 1:1:1 is the paper's best. counting: how the draft term
    counts accepted steps. guards: names of those that watch.

    Raises:
        BadReward: an unknown name, a weight that is no number or below 0, or none above 0.
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
            raise BadReward("weights must be numbers from 0, and one of them more than that")

    def terms(self, rollout: Rollout, group: Group) -> dict[str, float]:
        """Every term of one rollout, unweighted.

        Raises:
            BadReward: a term gave what is no finite number.
        """
        found = {name: TERMS[name](rollout, group, self) for name in self.weights}
        for name, value in found.items():
            if not math.isfinite(value):
                raise BadReward(
                    f"reward term {name!r} gave {value} for {rollout.question[:60]!r}: "
                    "a term must give a finite number for every rollout"
                )
        return found

    def total(self, terms: Mapping[str, float]) -> float:
        """The reward: the weighted sum of a rollout's terms."""
        return sum(weight * terms[name] for name, weight in self.weights.items())


Term: TypeAlias = Callable[[Rollout, Group, Scheme], float]


def outcome(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """1 where the final answer is right."""
    return float(rollout.right)


def draft(rollout: Rollout, group: Group, scheme: Scheme) -> float:
    """The share of the draft's steps that the target accepts, each after those before it.

    By `counting`: 'steps' (the paper), all steps alike; 'tokens', by their lengths; 'soft', the
    ratio itself in the place of 0 or 1; 'prefix', only the steps before the first rejection count
    as accepted, which is what a run can use. Steps that a guard has caught count as rejected. No
    steps: 0.
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
    """1 - n / 2m for a right answer of n tokens where m were needed, never below 0; else 0.

    m is the mean of two: the target's own solution, where that is right, and the mean of the right
    answers of the group. So an answer of the usual length earns a half, one of twice that nothing,
    and a shorter one more, up to 1. Wrong answers earn nothing by being short: with any weight,
    being right is worth more. Nor do those without reasoning, as the guards see it.
    """
    if not (rollout.right and reasons(rollout, scheme.guards)):
        return 0.0
    others = [other.tokens for other in group if other.right]
    needed = sum(others) / len(others)
    if (reference := rollout.reference) is not None and reference.right:
        needed = (needed + reference.tokens) / 2
    return max(0.0, 1.0 - rollout.tokens / (2 * needed))


TERMS: dict[str, Term] = {"outcome": outcome, "draft": draft, "length": length}


def add_term(name: str, term: Term) -> None:
    """Make one more term known; a `Scheme` may then weigh it.

    Raises:
        BadReward: the name is taken.
    """
    if TERMS.setdefault(name, term) is not term:
        raise BadReward(f"there is a reward term {name!r} already: choose another name")


def accepted(rollout: Rollout, scheme: Scheme) -> list[float]:
    """What each step earns: 1 or 0 by its verdict (its ratio, where the count is soft)."""
    earns = earning(rollout, scheme.guards)
    soft = scheme.counting == "soft"
    return [
        (verdict.score if soft else float(verdict.accepted)) if earned else 0.0
        for verdict, earned in zip(rollout.verdicts, earns, strict=True)
    ]


def _check_names(what: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise BadReward(f"no {what} {name!r}; known: {', '.join(known)}")
