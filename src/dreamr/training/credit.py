"""Step-level credit: a separate advantage for each step, from its own verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from dreamr.training.rewards import UNKNOWN, Scheme, accepted, place_values
from dreamr.training.rollout import Group, Rollout

BY_STEP = frozenset({"draft", "places"})  # terms that are credited to single steps


def credits(group: Group, scheme: Scheme) -> list[list[float]]:
    """Compute an advantage for each step of each rollout of a group.

    The advantage is the step's value minus a baseline. The value is the weight of the draft term
    for an accepted step and 0 for a rejected one, or the weight times the score if
    `scheme.counting` is 'soft'. The weight of the term 'places' times the mean value of the places
    that the step names is added (see `place_values`). The baseline is the mean value of all steps
    that the group wrote after exactly the same steps; a step without such siblings is compared with
    the mean of the whole group. So a step is not blamed for those before it, and siblings that are
    all accepted or all rejected give no signal. Steps after the first rejected one are left out,
    since a run would never reach them.

    These advantages replace both terms in the advantages of whole rollouts. Each token of a
    step carries the full advantage of the step, so of all countings only 'soft' makes a
    difference.

    Args:
        group: Rollouts of one problem.
        scheme: Weights of both terms, counting and guards.

    Returns:
        For each rollout one value per step, up to and including the first rejected step.
    """
    values = [_reached(one, scheme) for one in group]
    alike: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for one, earned in zip(group, values, strict=True):
        for place, value in enumerate(earned):
            alike[_before(one, place)].append(value)
    usual = fmean(value for earned in values for value in earned) if any(values) else 0.0

    def expected(one: Rollout, place: int) -> float:
        others = alike[_before(one, place)]
        return fmean(others) if len(others) > 1 else usual

    return [
        [value - expected(one, place) for place, value in enumerate(earned)]
        for one, earned in zip(group, values, strict=True)
    ]


def spread(rollout: Rollout, earned: Sequence[float], size: int) -> list[float]:
    """Spread the advantages of steps over their tokens.

    Returns:
        `size` values, one per token; tokens outside the steps in `earned` get 0.
    """
    tokens = [
        value
        for value, step in zip(earned, rollout.steps, strict=False)
        for _ in range(step.tokens)
    ]
    return (tokens + [0.0] * size)[:size]


def _reached(one: Rollout, scheme: Scheme) -> list[float]:
    """Return the values of the steps up to and including the first rejected one."""
    values = _values(one, scheme)
    for place, verdict in enumerate(one.verdicts):
        if not verdict.accepted:
            return values[: place + 1]
    return values


def _values(one: Rollout, scheme: Scheme) -> list[float]:
    draft, places = (scheme.weights.get(name, 0.0) for name in ("draft", "places"))
    values = [draft * value for value in accepted(one, scheme)]
    if not places:
        return values
    return [
        value + places * (fmean(named) if named else UNKNOWN)
        for value, named in zip(values, place_values(one, scheme), strict=True)
    ]


def _before(one: Rollout, place: int) -> tuple[str, ...]:
    return tuple(step.text for step in one.steps[:place])
