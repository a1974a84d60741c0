"""What the target thinks of a step, before any rule is applied to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """The target's probability mass on the two labels for one step (paper: s+ and s-).

    positive, negative: probabilities in [0, 1], summed over the spellings of the label.
    logprob: the target's mean log-probability (nats) of the step's own tokens, None if unknown.
    tokens: how many of the target's tokens the step has, 0 if unknown.
    agreed: how many of these, from the first on, it would have written itself, greedily.
    scores: where a score was asked for, the probabilities of 0 to 9, else empty.
    own: how the target would itself begin the step, greedily, as far as its judging has shown:
    what it agrees with, and its next token. Empty if unknown.
    """

    positive: float
    negative: float
    logprob: float | None = None
    tokens: int = 0
    agreed: int = 0
    scores: tuple[float, ...] = ()
    own: str = ""

    @property
    def mass(self) -> float:
        """Probability that the target answered with either label."""
        return self.positive + self.negative

    @property
    def ratio(self) -> float:
        """s+ / (s+ + s-): Contrastive Probability Normalization; 0 where there is no mass."""
        return self.positive / self.mass if self.mass > 0 else 0.0
