"""A threshold that follows what audits find."""

from __future__ import annotations

# In parts of what lies between the threshold to begin with and 1.
_STEP = 1 / 4
_DOWN = 1 / 2
_UP = 9 / 10


class Controller:
    """Raises a gate's threshold after disagreements, lowers it slowly otherwise, within bounds.

    After each audit it moves by step * (x - risk), x being 1 where the target disagreed: online
    conformal inference (Gibbs and Candes, arXiv 2106.00170). Where the bounds leave it room, the
    share of disagreements over T audits is then within 1 / (step * T) or so of `risk`, whatever the
    problems are. A step is a quarter of what lies between the threshold and 1.
    """

    def __init__(self, threshold: float, risk: float, *, lower: bool = False) -> None:
        """At the threshold to begin with.

        Args:
            threshold: in [0, 1].
            risk: the share of audits in which the target may disagree, in (0, 1).
            lower: whether it may go below that threshold, half as far as 1 is above; up it goes
                nine tenths of the way to 1.
        """
        room = 1 - threshold
        self.low = max(0.0, threshold - _DOWN * room) if lower else threshold
        self.high = threshold + _UP * room
        self._step, self._risk = _STEP * room, risk
        self.threshold = threshold

    def learn(self, disagrees: bool) -> None:
        """Take in one more audit."""
        moved = self.threshold + self._step * (disagrees - self._risk)
        self.threshold = min(self.high, max(self.low, moved))
