"""Step-level credit: each step's tokens are paid for that step's own verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from dreamr.training.rewards import Scheme, accepted
from dreamr.training.rollout import Group, Rollout


def credits(group: Group, scheme: Scheme) -> list[list[float]]:
    """What each step of each rollout earns more or less than could be expected of it.

    A step answers for itself alone: it is compared with what the group's other rollouts wrote after
    exactly the same accepted steps, which a draft that is sure of most tokens gives plenty of. So
    the steps that led there are not blamed, and where all were accepted, or all refused, there is
    nothing to learn. A step that no other can be compared with is compared with all of the group.
    Steps behind a refused one earn nothing: no run would have come to them.

    This takes the place of the draft term in the rollouts' own advantages. A step's tokens carry
    its whole verdict, not its share in the rollout's: of all countings only 'soft' matters here.
    """
    values = [_reached(one, scheme) for one in group]
    alike: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for one, earned in zip(group, values, strict=True):
        for place, value in enumerate(earned):
            alike[_before(one, place)].append(value)
    usual = fmean(value for earned in values for value in earned) if any(values) else 0.0
    weight = scheme.weights.get("draft", 0.0)

    def expected(one: Rollout, place: int) -> float:
        others = alike[_before(one, place)]
        return fmean(others) if len(others) > 1 else usual

    return [
        [weight * (value - expected(one, place)) for place, value in enumerate(earned)]
        for one, earned in zip(group, values, strict=True)
    ]


def spread(rollout: Rollout, earned: Sequence[float], size: int) -> list[float]:
    """What each of `size` tokens gets: that of its step; nothing outside of these."""
    tokens = [
        value
        for value, step in zip(earned, rollout.steps, strict=False)
        for _ in range(step.tokens)
    ]
    return (tokens + [0.0] * size)[:size]


def _reached(one: Rollout, scheme: Scheme) -> list[float]:
    """What the steps earn, up to the first that is refused."""
    values = accepted(one, scheme)
    for place, verdict in enumerate(one.verdicts):
        if not verdict.accepted:
            return values[: place + 1]
    return values


def _before(one: Rollout, place: int) -> tuple[str, ...]:
    return tuple(step.text for step in one.steps[:place])
