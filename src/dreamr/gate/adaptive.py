"""A ratio gate whose threshold depends on how hard the step is for the target."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query
from dreamr.gate.ratio import RatioGate

_EASIEST, _HARDEST = 2.0, 0.25


@dataclass(frozen=True, slots=True)
class AdaptiveGate(RatioGate):
    """Ratio gate with a lower threshold for steps that the target finds likely.

    The rule needs no training. If w is the margin of the step's weakest token
    (`Evidence.min_margin`), its ease is e = 2w, limited to [1/4, 2], and the ratio must reach
    1 - (1 - threshold) e. At a threshold of 0.7, a step with w = 1 needs a ratio of 0.4, one with
    w = 1/2 needs 0.7, and one with w at most 1/8 needs 0.925. If the engine does not report the
    margin, the threshold stays as it is.
    """

    @property
    def query(self) -> Query:
        """Query for a verdict in the labels' words, and for margins."""
        return Query(self.query_kind, margins=True)

    def needed(self, evidence: Evidence) -> float:
        """Return the lowest ratio at which this step is accepted."""
        min_margin = evidence.min_margin
        ease = 1.0 if min_margin is None else min(_EASIEST, max(_HARDEST, 2 * min_margin))
        return max(0.0, 1 - (1 - self.threshold) * ease)
