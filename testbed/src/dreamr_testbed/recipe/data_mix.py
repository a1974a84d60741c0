"""What the examples of a model or a stage are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dreamr_testbed.suites import ReferenceStep


@dataclass(frozen=True, slots=True)
class DataMix:
    """What examples are made of.

    ends, between: chance of the wordy style for the first and the last step of a solution, and
    for each step between them.
    most: a step that has so many words more in the wordy style is never wordy; None: no bound.
    begins_wordy: whether the model learns to begin a wordy step, or only to go on with one. A
    model that does not writes tersely, and yet knows what to expect in wordy steps that it judges.
    branches: how many judging questions a solution gets; half of them after a wrong step.
    others: how many of each of the questions that the judges of other methods ask.
    answers: chance of one question more, behind the final answer, which half of the time is wrong.
    slips: how many tokens of a solution get a wrong one beside them, for the error head.
    verdict_weight: what one verdict counts in the loss, in tokens of reasoning.
    """

    ends: float
    between: float
    begins_wordy: bool
    branches: int
    answers: float = 0.0
    slips: int = 0
    verdict_weight: float = 4.0
    most: int | None = None
    others: int = 0

    def styles(self, steps: Sequence[ReferenceStep], rng: Random) -> list[str]:
        """A style for each step of a solution."""
        last = len(steps) - 1
        shares = [self.ends if at in (0, last) else self.between for at in range(last + 1)]
        return [
            "wordy" if rng.random() < share and not self._too_many(step) else "terse"
            for step, share in zip(steps, shares, strict=True)
        ]

    def _too_many(self, step: ReferenceStep) -> bool:
        more = len(step.wordy.split()) - len(step.terse.split())
        return self.most is not None and more > self.most
