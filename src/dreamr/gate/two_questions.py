"""A gate that asks separately what a step reads and what it concludes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query, QueryKind
from dreamr.gate.ratio import RatioGate
from dreamr.gate.verdict import StepContext, Verdict


@dataclass(frozen=True, slots=True)
class TwoQuestionsGate(RatioGate):
    """Ratio gate over two questions, of which the lower ratio counts (EVPV).

    After arXiv 2603.16253: errors of perception and errors of logic are different, and one question
    about both hides the former. The first question is whether what the step reads from the image or
    the question is there; the second, whether it follows from the steps before it.

    Different from the paper: the questions go to the target itself, which needs no training.
    """

    query_kind: ClassVar[QueryKind] = "seen"

    @property
    def further_queries(self) -> tuple[Query, ...]:
        """The second question."""
        return (Query("follows"),)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Decide by the answer with the lower ratio; reject the step if one is missing."""
        verdicts = [RatioGate.decide(self, one, context) for one in (evidence, *context.further)]
        # An answer that is missing rejects the step, whatever its ratio.
        return min(verdicts, key=lambda one: (not one.unanswered, one.score))
