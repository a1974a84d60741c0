"""Whether disagreements have become more frequent than a bound allows.

For a rate q above the bound r, how much likelier one more audit is under q than under r is q / r
where the target disagrees, and (1 - q) / (1 - r) where it agrees: 1 + lambda (x - r) with a lambda
that is at its best where q is the truth. As long as the rate is r or less, this is at most 1 on
average, whatever happened before. M = max(M, 1) times that is an e-detector: it stays small, and
grows from wherever a change begins. So is the mean of several, for rates that are not known
beforehand. Without drift, the number of audits until it reaches 1 / a is at least 1 / a on average
(Shin, Ramdas, Rinaldo: E-detectors, arXiv 2203.03532).
"""

from __future__ import annotations

_TIMES = (1.5, 2.0, 3.0, 5.0, 10.0)  # as many disagreements as the bound allows: what is looked for
_QUIET = 10  # an alarm falls after as many audits as give this many disagreements at the bound


class Detector:
    """Learns from one audit after the other, and raises an alarm."""

    def __init__(self, risk: float, false_alarm: float = 0.001) -> None:
        """Nothing is known yet.

        Args:
            risk: bound on the share of audits in which the target disagrees, in (0, 1).
            false_alarm: without drift, alarms are on average at least 1 / `false_alarm` audits
                apart, in (0, 1).

        Raises:
            ValueError: a value outside (0, 1).
        """
        for name, value in (("risk", risk), ("false_alarm", false_alarm)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, not at {value}")
        rates = [min(times * risk, (1 + risk) / 2) for times in _TIMES]
        # By whether the target disagrees.
        self._factors = [((1 - q) / (1 - risk), q / risk) for q in rates]
        self._level, self._quiet = 1 / false_alarm, _QUIET / risk
        self._begin()
        self.alarm = False  # whether disagreements are more frequent than they may be

    def _begin(self) -> None:
        self._evidence = [1.0] * len(self._factors)
        self._since = 0  # audits

    @property
    def evidence(self) -> float:
        """The e-detector: how much speaks for drift since it was last begun."""
        return sum(self._evidence) / len(self._evidence)

    def learn(self, disagrees: bool) -> None:
        """Take in one more audit.

        At an alarm it begins anew, and the alarm stays until it has found nothing for long.
        """
        self._evidence = [
            max(1.0, evidence) * factors[disagrees]
            for evidence, factors in zip(self._evidence, self._factors, strict=True)
        ]
        self._since += 1
        if self.evidence >= self._level:
            self.alarm = True
            self._begin()
        elif self._since >= self._quiet:
            self.alarm = False
