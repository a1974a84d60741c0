"""How likely drafted steps are to be accepted, estimated from the verdicts of the run."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from dreamr.steps import Step

_Group: TypeAlias = Literal["confident", "doubtful", "unknown"]

# Accepted and rejected steps that each group begins with: weak beliefs, for the first verdicts.
_BEFORE: dict[_Group, tuple[float, float]] = {
    "confident": (4.0, 1.0),
    "doubtful": (2.0, 2.0),
    "unknown": (3.0, 1.0),
}
_DOUBTFUL = 0.5  # probability of a token below which the draft is in doubt about its step


class Acceptance:
    """Estimates the probability that a drafted step is accepted.

    Steps are counted apart by the draft's own confidence: its lowest probability of a token.
    """

    def __init__(self) -> None:
        self._counts = {group: list(counts) for group, counts in _BEFORE.items()}

    def note(self, step: Step, *, accepted: bool) -> None:
        """Count the verdict on a drafted step."""
        self._counts[_group(step)][0 if accepted else 1] += 1

    def chance(self, step: Step | None = None) -> float:
        """Return the probability that a step is accepted; None for one that is not complete."""
        if step is not None:
            return _share(*self._counts[_group(step)])
        accepted, rejected = _BEFORE["unknown"]
        for group, counts in self._counts.items():
            accepted += counts[0] - _BEFORE[group][0]
            rejected += counts[1] - _BEFORE[group][1]
        return _share(accepted, rejected)


def _share(accepted: float, rejected: float) -> float:
    return accepted / (accepted + rejected)


def _group(step: Step) -> _Group:
    if step.min_logprob is None:
        return "unknown"
    return "confident" if step.min_logprob >= math.log(_DOUBTFUL) else "doubtful"
