"""From evidence to accept or reject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Asks, Query
from dreamr.steps import Ending, Step


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where the step stands that is decided on.

    position: its number in the assistant's text, the first step being 0. retries: how many other
    candidates for the same position were rejected before.
    """

    step: Step
    position: int
    resamples: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's decision on one drafted step, with what it rests on.

    ratio: the evidence's s+ / (s+ + s-), 0 where there was none. threshold: the least ratio that
    would have been accepted. reason: why, in a few words for people. evidence: None where the
    step was not judged at all; the ratio is then how sure the draft was of it, if that is why.
    """

    accepted: bool
    score: float
    threshold: float
    reason: str
    evidence: Evidence | None = None


def stricter(threshold: float, resamples: int) -> float:
    """The threshold for another try: what was allowed to be missing, divided by the tries so far.

    The more candidates are drawn, the likelier it is that one deceives the judge: with the first at
    0.7 the next needs 0.85, and the one after that 0.9.
    """
    return threshold + (1 - threshold) * resamples / (1 + resamples)


class Gate(Protocol):
    """The rule; a pure function of what it is shown."""

    @property
    def query(self) -> Query:
        """The question whose evidence it decides on."""
        ...

    def decide_without_target(self, situation: StepContext) -> Verdict | None:
        """The verdict on a step about which the target need not be asked; None where it must."""
        return None

    def decide(self, evidence: Evidence, situation: StepContext) -> Verdict:
        """The verdict on any other step."""
        ...


@dataclass(frozen=True, slots=True)
class RatioGate(Gate):
    """Accept where the ratio reaches a fixed threshold (the paper's TBVM; it uses 0.7).

    threshold: in [0, 1]. min_mass: the least probability on the two labels together that counts as
    evidence; below it the target did not answer the question, and the step is rejected.

    Raises:
        ValueError: a value outside [0, 1].
    """

    asks: ClassVar[Asks] = "verdict"
    threshold: float = 0.7
    min_mass: float = 0.01

    def __post_init__(self) -> None:
        for name in ("threshold", "min_mass"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    @property
    def query(self) -> Query:
        """What the labels' words ask."""
        return Query(self.asks)

    def decide(self, evidence: Evidence, situation: StepContext) -> Verdict:
        """Reject cut steps and missing evidence; else compare the ratio with the threshold."""
        needed = stricter(self.needed(evidence), situation.resamples)
        accepted, reason = self._decision(evidence, situation.step, needed)
        return Verdict(accepted, evidence.ratio, needed, reason, evidence)

    def needed(self, evidence: Evidence) -> float:
        """The least ratio at which this step is accepted at the first try."""
        return self.threshold

    def _decision(self, evidence: Evidence, step: Step, needed: float) -> tuple[bool, str]:
        if step.ending is Ending.CAP:
            return False, "cut by the length cap"
        # Written so that a NaN from a broken engine is no evidence either.
        if not (evidence.mass > 0.0 and evidence.mass >= self.min_mass):
            return False, f"no evidence: label mass {evidence.mass:.2g} below {self.min_mass:.2g}"
        if evidence.ratio >= needed:
            return True, "ratio reaches the threshold"
        return False, "ratio below the threshold"
