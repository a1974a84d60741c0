"""What the target thinks of a step, before any rule is applied to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the target thinks of one step: of the question about it, and of its own tokens.

    positive, negative: probabilities of the two labels in [0, 1], summed over the spellings
    (paper: s+ and s-); both 0 where nothing was asked.
    logprob: the target's mean log-probability (nats) of the step's own tokens, None if unknown.
    min_logprob: the lowest log-probability of one of them.
    mean_margin: how sure the target is of the step against other ways to go on: for each token its
    probability over that and the best other token's, the geometric mean of these, in [0, 1].
    min_margin: the lowest of these; above one half where the target would write the step itself.
    tokens: how many of the target's tokens the step has, 0 if unknown.
    matched_tokens: how many of these, from the first on, it would have written itself, greedily.
    scores: where a score was asked for, the probabilities of 0 to 9, else empty.
    target_prefix: how the target would itself begin the step, greedily, as far as its judging has
    shown: what it agrees with, and its next token. Empty if unknown.
    """

    positive: float
    negative: float
    logprob: float | None = None
    tokens: int = 0
    matched_tokens: int = 0
    scores: tuple[float, ...] = ()
    target_prefix: str = ""
    min_logprob: float | None = None
    mean_margin: float | None = None
    min_margin: float | None = None

    @property
    def asked(self) -> bool:
        """Whether the target was asked about the step at all."""
        return self.mass > 0 or bool(self.scores)

    @property
    def mass(self) -> float:
        """Probability that the target answered with either label."""
        return self.positive + self.negative

    @property
    def ratio(self) -> float:
        """s+ / (s+ + s-): Contrastive Probability Normalization; 0 where there is no mass."""
        return self.positive / self.mass if self.mass > 0 else 0.0
