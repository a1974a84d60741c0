"""The gate protocol, and verdicts: the decisions of gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Need, Query
from dreamr.steps import Ending, Step

ScoreKind: TypeAlias = Literal[
    "ratio",  # s+ / (s+ + s-) of the two labels, as in the paper
    "equivalence",  # the same ratio, for equivalence to the target's own step
    "likelihood",  # how likely the target is to write the step: `Evidence.mean_margin`
    "draft_probability",  # lowest probability that the draft gave a token of the step
    "probability",  # that the step is right, estimated by the learned gate
    "rating",  # the target's rating from 0 to 9, divided by 9
    "agreement",  # share of tokens, from the first, that the target would write itself
    "word",  # 1 if the target's answer begins with the positive label, else 0
    "draft_ratio",  # s+ / (s+ + s-) of the draft about its own step
    "draft_certainty",  # exp(-entropy) of the draft at the first token of the step
    "tolerance",  # 1 - `Evidence.surest_mismatch`
    "none",  # decided without a score
]

CUT_REASON = "cut by the length cap"

SCORE_NAMES: Mapping[ScoreKind, str] = {  # for readers
    "ratio": "judge ratio",
    "equivalence": "equivalence ratio",
    "likelihood": "target likelihood",
    "draft_probability": "draft confidence",
    "probability": "predicted correctness",
    "rating": "judge rating",
    "agreement": "token agreement",
    "word": "verdict word (weak)",
    "draft_ratio": "draft's own ratio",
    "draft_certainty": "draft certainty",
    "tolerance": "target's doubt",
    "none": "no score",
}


@dataclass(frozen=True, slots=True)
class StepContext:
    """A drafted step and its place in the run.

    Attributes:
        step: The drafted step.
        position: Number of the step in the assistant's text, from 0.
        resamples: Number of candidates for this position that were rejected before.
        draft_evidence: The draft's own view of the step, if the gate has a `draft_query` and the
            draft has answered it.
        further: Evidence of the gate's `further_queries`, in their order.
    """

    step: Step
    position: int
    resamples: int = 0
    draft_evidence: Evidence | None = None
    further: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision of a gate on one drafted step, with its basis.

    Attributes:
        accepted: Whether the step is accepted.
        score: Measured value in [0, 1], 0 without evidence.
        threshold: Lowest score that would have been accepted.
        reason: Short explanation for people.
        evidence: Evidence of the judge call; the draft's if the kind is 'draft_ratio'. None if no
            model judged the step.
        unanswered: Whether the step was rejected because the target did not answer the judge
            prompt with a label.
        kind: What the score measures.
    """

    accepted: bool
    score: float
    threshold: float
    reason: str
    evidence: Evidence | None = None
    unanswered: bool = False
    kind: ScoreKind = field(kw_only=True)

    @property
    def score_text(self) -> str:
        """Score with its kind, for readers, such as "judge ratio 0.93"."""
        name = SCORE_NAMES[self.kind]
        if self.kind == "word":
            word = "positive" if self.score else "negative"
            return f"{name} {'missing' if self.unanswered else word}"
        return name if self.kind == "none" else f"{name} {self.score:.2f}"

    @property
    def by_target(self) -> bool:
        """Whether the target judged the step."""
        return self.evidence is not None and self.kind != "draft_ratio"

    @property
    def label_mass(self) -> float | None:
        """Probability that the target answers the judge prompt with a label; None if not asked."""
        evidence = self.evidence if self.by_target else None
        return evidence.mass if evidence is not None and evidence.asked else None


def check_shares(gate: object, *names: str) -> None:
    """Check that the named fields of a gate are shares or None.

    Raises:
        ValueError: If one is outside [0, 1].
    """
    for name in names:
        value = getattr(gate, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be between 0 and 1, not {value}")


def stricter(threshold: float, resamples: int) -> float:
    """Return the threshold for a resampled step.

    The gap between threshold and 1 is divided by the number of candidates so far, since with more
    candidates it becomes more likely that one deceives the judge. A threshold of 0.7 for the first
    candidate becomes 0.85 for the second and 0.9 for the third.
    """
    return threshold + (1 - threshold) * resamples / (1 + resamples)


def compared(
    score: float | None,
    threshold: float,
    context: StepContext,
    kind: ScoreKind,
    *,
    evidence: Evidence | None = None,
    accepted: str,
    rejected: str,
    unknown: str,
) -> Verdict:
    """Return the verdict of a gate that compares a score with a threshold, and asks nothing.

    Args:
        score: The score; None rejects the step.
        threshold: Lowest score that is accepted; stricter for a resampled step.
        context: The step. One that was cut is rejected.
        kind: What the score measures; 'none' without one.
        evidence: Evidence of the judge call; None if there was none.
        accepted: Reason of an accepting verdict.
        rejected: Reason of a rejecting one.
        unknown: Reason without a score.
    """
    needed = stricter(threshold, context.resamples)
    passes = False
    if context.step.ending is Ending.CAP:
        reason = CUT_REASON
    elif score is None:
        reason = unknown
    else:
        passes = score >= needed
        reason = accepted if passes else rejected
    if score is None:
        kind = "none"
    return Verdict(passes, score or 0.0, needed, reason, evidence, kind=kind)


class Gate(Protocol):
    """Protocol of gates; a gate is a pure function of its arguments."""

    @property
    def query(self) -> Query:
        """Query whose evidence the gate needs."""
        ...

    @property
    def further_queries(self) -> tuple[Query, ...]:
        """Further queries to the target about the same steps; see `StepContext.further`."""
        return ()

    @property
    def draft_query(self) -> Query | None:
        """Query to the draft about its own steps, before the target; None if there is none."""
        return None

    @property
    def needs(self) -> frozenset[Need]:
        """What the engines must report for the gate to work."""
        return self.query.needs.union(*(query.needs for query in self.further_queries))

    def decide_without_target(self, context: StepContext) -> Verdict | None:
        """Return the verdict if the target need not judge the step; None if it must."""
        return None

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Return the verdict on a step that the target has judged."""
        ...
