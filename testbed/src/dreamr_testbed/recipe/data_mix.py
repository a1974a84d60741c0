"""Composition of the training examples of a model or a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dreamr_testbed.suites import ReferenceStep


@dataclass(frozen=True, slots=True)
class DataMix:
    """Composition of training examples.

    Attributes:
        ends: Probability of the wordy style for the first and the last step of a solution.
        between: Probability of the wordy style for each step between them.
        begins_wordy: Whether the first tokens of wordy steps are trained. A model without this
            writes tersely but can predict the rest of wordy steps, which it judges.
        branches: Maximum number of judge prompts per solution, half of them about wrong steps.
        answers: Probability of a judge prompt about the final answer, which is wrong half of the
            time.
        slips: Maximum number of one-token branches with a wrong token per solution, for the error
            head.
        verdict_weight: Weight of a verdict in the loss, relative to a token of reasoning.
        most: Maximum number of words that the wordy style may add to a step; steps that would
            become longer stay terse. None for no limit.
        others: Number of scores and of comparisons per solution, for the judges of other methods.
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
        """Draw a style, 'terse' or 'wordy', for each step of a solution."""
        last = len(steps) - 1
        shares = [self.ends if at in (0, last) else self.between for at in range(last + 1)]
        return [
            "wordy" if rng.random() < share and not self._too_many(step) else "terse"
            for step, share in zip(steps, shares, strict=True)
        ]

    def _too_many(self, step: ReferenceStep) -> bool:
        more = len(step.wordy.split()) - len(step.terse.split())
        return self.most is not None and more > self.most
