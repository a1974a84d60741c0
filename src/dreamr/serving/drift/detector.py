"""Detection of disagreements that are more frequent than a bound allows.

For a rate q above the bound r, the likelihood ratio of one audit is q / r if the target disagrees
and (1 - q) / (1 - r) if it agrees. This equals 1 + lambda (x - r) with the lambda that grows
fastest if q is the true rate. As long as the true rate is at most r, its expectation is at most 1,
whatever the history. The recursion M = max(M, 1) * ratio is an e-detector: it stays small without
drift and grows from the moment a change begins. The mean of several e-detectors is one too, which
covers rates that are not known in advance. Without drift, the number of audits until M reaches
1 / a is at least 1 / a on average (Shin, Ramdas, Rinaldo: E-detectors, arXiv 2203.03532).
"""

from __future__ import annotations

_RATES = (1.5, 2.0, 3.0, 5.0, 10.0)  # disagreement rates to detect, in multiples of the bound
_QUIET = 10  # an alarm ends after _QUIET / risk audits without a new one


class Detector:
    """Alarm on the rate of disagreements in a sequence of audits.

    Args:
        risk: Largest allowed share of audits in which the target disagrees, in (0, 1).
        false_alarm: Without drift, false alarms are at least 1 / `false_alarm` audits apart on
            average; in (0, 1).

    Attributes:
        alarm: Whether disagreements are more frequent than `risk` allows.

    Raises:
        ValueError: If a value is outside (0, 1).
    """

    def __init__(self, risk: float, false_alarm: float = 0.001) -> None:
        for name, value in (("risk", risk), ("false_alarm", false_alarm)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} must be between 0 and 1, not {value}")
        rates = [min(times * risk, (1 + risk) / 2) for times in _RATES]
        # Pairs, indexed by whether the target disagrees.
        self._factors = [((1 - q) / (1 - risk), q / risk) for q in rates]
        self._level, self._quiet = 1 / false_alarm, _QUIET / risk
        self._restart()
        self.alarm = False

    def _restart(self) -> None:
        self._evidence = [1.0] * len(self._factors)
        self._since = 0  # audits

    @property
    def evidence(self) -> float:
        """Value of the e-detector: the evidence for drift since its last restart."""
        return sum(self._evidence) / len(self._evidence)

    def learn(self, disagrees: bool) -> None:
        """Update the evidence and the alarm after an audit.

        An alarm restarts the detector. It ends after 10 / `risk` audits without a new alarm.
        """
        self._evidence = [
            max(1.0, evidence) * factors[disagrees]
            for evidence, factors in zip(self._evidence, self._factors, strict=True)
        ]
        self._since += 1
        if self.evidence >= self._level:
            self.alarm = True
            self._restart()
        elif self._since >= self._quiet:
            self.alarm = False
