"""Evidence: what a judge call finds out about a step, before a gate decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """The target's view of one step: its answer to the judge prompt and its token probabilities.

    The margin of a token is its probability divided by the sum of its probability and that of the
    most likely other token.

    Attributes:
        positive: Probability of the positive label in [0, 1], summed over its spellings; s+ in the
            paper. 0 if the judge prompt was skipped.
        negative: The same for the negative label; s- in the paper.
        logprob: Mean log-probability (nats) that the target gives the step's tokens. None if
            unknown.
        tokens: Number of the target's tokens in the step. 0 if unknown.
        matched_tokens: Number of these, from the first, that the target would have written itself,
            greedily.
        scores: Probabilities of the scores 0 to 9. Empty unless a score was asked for.
        target_prefix: How the target would begin the step itself, greedily, as far as judging has
            shown: the tokens that it agrees with, and its next token. Empty if unknown.
        min_logprob: Lowest log-probability (nats) of a token of the step. None if unknown.
        mean_margin: Geometric mean of the margins, in [0, 1]. None if unknown.
        min_margin: Lowest margin, in [0, 1]. Above one half if the target would write the step
            itself, greedily. None if unknown.
        surest_mismatch: Highest probability that the target gives its own choice where the step has
            another token. 0 if the step has the target's choice everywhere; None if unknown.
        top_label: Whether the most likely token of the target's answer is a label. None if nothing
            was asked or it is unknown.
        answer: The target's answer in words, if the query asked for words and the engine generates
            it; otherwise empty.
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
    surest_mismatch: float | None = None
    top_label: bool | None = None
    answer: str = ""

    @property
    def asked(self) -> bool:
        """Whether the target was given the judge prompt."""
        return self.mass > 0 or bool(self.scores) or self.top_label is not None

    @property
    def mass(self) -> float:
        """Probability that the target answers with either label."""
        return self.positive + self.negative

    @property
    def ratio(self) -> float:
        """s+ / (s+ + s-), Contrastive Probability Normalization in the paper; 0 without mass."""
        return self.positive / self.mass if self.mass > 0 else 0.0
