"""A threshold that follows how hard the step is for the target."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.gate.evidence import Evidence
from dreamr.gate.ratio import RatioGate

_EASIEST, _HARDEST = 2.0, 0.25


@dataclass(frozen=True, slots=True)
class AdaptiveGate(RatioGate):
    """Accept more easily what the target nearly would have written, and less what it hardly would.

    The rule, which needs no training: with the weakest token w of the step (`Evidence.min_margin`)
    its ease is e = 2 w, no less than 1/4 and no more than 2, and the ratio must reach
    1 - (1 - threshold) e. So at a threshold of 0.7 a step whose tokens the target would all choose
    needs 0.4, one with a token that it finds improbable 0.925, and one in between 0.7. Where an
    engine does not know how sure the target is, the threshold stays as it is.
    """

    def needed(self, evidence: Evidence) -> float:
        """The least ratio at which this step is accepted."""
        min_margin = evidence.min_margin
        ease = 1.0 if min_margin is None else min(_EASIEST, max(_HARDEST, 2 * min_margin))
        return max(0.0, 1 - (1 - self.threshold) * ease)
