"""Gates that look at the target's own tokens, and ask it only where these leave a doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate._evidence import Evidence
from dreamr.gate._query import Asks, Query
from dreamr.gate._verdict import FixedGate, Situation, Verdict
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class ContinuationGate:
    """Accept what the target might have written itself; nothing is ever asked.

    The evidence is `Evidence.continuation`: for each token of the step its probability over that
    and the best other token's, averaged geometrically. Engines that do not know it accept nothing.

    threshold: in [0, 1].

    Raises:
        ValueError: a threshold outside [0, 1].
    """

    asks: ClassVar[Asks] = "agreement"
    threshold: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must lie in [0, 1], not {self.threshold}")

    @property
    def query(self) -> Query:
        """Nothing."""
        return Query(self.asks)

    def decide(self, evidence: Evidence, situation: Situation) -> Verdict:
        """Reject cut steps; else compare the confidence, which is the verdict's ratio."""
        ratio = evidence.continuation
        if situation.step.ending is Ending.CAP:
            accepted, reason = False, "cut by the length cap"
        elif ratio is None:
            accepted, reason = False, "this engine does not know how it would go on"
        else:
            accepted = ratio >= self.threshold
            reason = f"the target {'might' if accepted else 'would hardly'} go on so"
        return Verdict(accepted, ratio or 0.0, self.threshold, reason, evidence)


@dataclass(frozen=True, slots=True)
class CascadeGate(FixedGate):
    """Accept what the target is sure to go on with; ask about the rest, as `FixedGate` does.

    A question costs the target about as many rows as a short step has itself, and where it would
    have written every token of the step, or nearly, the answer is known. What it would write is no
    mistake that it would not have made alone.

    sure: the least `Evidence.weakest` at which nothing is asked; one half is what the target would
    write itself, greedily.

    Raises:
        ValueError: a value outside [0, 1].
    """

    sure: float = 0.3

    def __post_init__(self) -> None:
        FixedGate.__post_init__(self)
        if not 0.0 <= self.sure <= 1.0:
            raise ValueError(f"sure must lie in [0, 1], not {self.sure}")

    @property
    def query(self) -> Query:
        """The labels' words, about what the target is not sure of."""
        return Query(self.asks, sure=self.sure)

    def decide(self, evidence: Evidence, situation: Situation) -> Verdict:
        """What the target is sure of passes, asked about or not; the rest, by its answer."""
        weakest = evidence.weakest
        cut = situation.step.ending is Ending.CAP
        if cut or weakest is None or weakest < self.sure:
            return FixedGate.decide(self, evidence, situation)
        ratio = evidence.continuation or 0.0
        return Verdict(True, ratio, self.threshold, "the target would go on so", evidence)
