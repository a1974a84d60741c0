"""A threshold that is adjusted after each audit."""

from __future__ import annotations

# As shares of the distance from the initial threshold to 1.
_STEP = 1 / 4
_DOWN = 1 / 2
_UP = 9 / 10


class Controller:
    """Threshold that rises after a disagreement and falls slowly after agreements, within bounds.

    Online conformal inference (Gibbs and Candes, arXiv 2106.00170): each audit moves the threshold
    by step * (x - risk), where x is 1 if the target disagreed and 0 otherwise. While the threshold
    is inside its bounds, the share of disagreements over T audits is within about 1 / (step * T) of
    `risk` for any sequence of problems. The step is a quarter of the distance from the initial
    threshold to 1; the upper bound lies nine tenths of that distance above the initial threshold.

    Args:
        threshold: Initial threshold, in [0, 1].
        risk: Largest share of audits in which the target may disagree, in (0, 1).
        lower: Whether the threshold may fall below its initial value, by at most half its
            distance to 1.

    Attributes:
        threshold: Current threshold.
        low: Lower bound.
        high: Upper bound.
    """

    def __init__(self, threshold: float, risk: float, *, lower: bool = False) -> None:
        room = 1 - threshold
        self.low = max(0.0, threshold - _DOWN * room) if lower else threshold
        self.high = threshold + _UP * room
        self._step, self._risk = _STEP * room, risk
        self.threshold = threshold

    def learn(self, disagrees: bool) -> None:
        """Update the threshold after an audit."""
        moved = self.threshold + self._step * (disagrees - self._risk)
        self.threshold = min(self.high, max(self.low, moved))
