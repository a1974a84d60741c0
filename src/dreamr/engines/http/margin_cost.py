"""Whether the probabilities of given tokens pay for a judge call, by measured times.

vLLM reads the whole prompt again for them, without its prefix cache, so their cost grows with the
prompt. That of a question over a cached prefix hardly does. Where the two meet depends on model
and device: on a CPU, vLLM's V1 engine took 126 ms for a window and 52 ms for eight questions.
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamr._means import moving_mean
from dreamr.gate import Query

# Most tokens of a prompt where times must not decide, or where margins are read for the decision
# and save nothing. It is chosen, not measured.
FIXED_TOKENS = 1024
_NEWEST = 0.3  # share of the latest measurement in a mean
_FADE = 0.99  # of the cost of reading with each call without it, so that it is tried again
_LEAST_SPARED = 0.05  # share of the steps without a question that is assumed at least


@dataclass(slots=True)
class MarginCost:
    """Costs of margins and of questions at one server, as moving means.

    Attributes:
        read: Seconds of a request for margins, for each token of its prompt; None if unknown.
        question: Seconds of the questions of a judge call; None if unknown.
        spared: Share of the steps that need no question, by their margins.
    """

    read: float | None = None
    question: float | None = None
    spared: float = 1.0

    @property
    def known(self) -> bool:
        """Whether both costs were measured."""
        return self.read is not None and self.question is not None

    def pays(self, tokens: int, query: Query) -> bool:
        """Return whether margins are expected to pay, for a query that can do without.

        Args:
            tokens: Length of the prompt, with the steps.
            query: What the call asks.
        """
        if not decides(query):
            return tokens <= FIXED_TOKENS
        if self.read is None or self.question is None:  # each is tried once
            return self.read is None
        if tokens * self.read < max(_LEAST_SPARED, self.spared) * self.question:
            return True
        self.read *= _FADE
        return False

    def note_margins(self, seconds: float, tokens: int) -> None:
        """Note a request for margins: its time, and the length of its prompt in tokens."""
        self.read = moving_mean(self.read, seconds / max(1, tokens), _NEWEST)

    def note_questions(self, seconds: float) -> None:
        """Note the time of the questions of a judge call."""
        self.question = moving_mean(self.question, seconds, _NEWEST)

    def note_spared(self, share: float) -> None:
        """Note the share of the steps of a call that were not asked about."""
        self.spared += _NEWEST * (share - self.spared)


def decides(query: Query) -> bool:
    """Return whether measured times decide about margins: they may, and margins spare questions."""
    return query.measured and query.target_confidence is not None
