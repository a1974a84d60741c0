"""A gate for targets that report no probabilities: it reads the word of the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dreamr.gate.evidence import Evidence
from dreamr.gate.query import Query, QueryKind
from dreamr.gate.verdict import CUT_REASON, Gate, StepContext, Verdict
from dreamr.steps import Ending


@dataclass(frozen=True, slots=True)
class WordGate(Gate):
    """Gate that accepts steps to which the target's greedy answer begins with the positive label.

    The evidence is weaker than a ratio: there is no threshold, and an answer that was nearly the
    other one counts in full. It cannot be calibrated.
    """

    query_kind: ClassVar[QueryKind] = "word"

    @property
    def query(self) -> Query:
        """Query for a verdict in words."""
        return Query(self.query_kind)

    def decide(self, evidence: Evidence, context: StepContext) -> Verdict:
        """Reject cut steps and answers without a label; otherwise follow the label."""
        # Engines that report probabilities answer with their most likely token.
        answered = evidence.mass > 0.5 if evidence.top_label is None else evidence.top_label
        positive = answered and evidence.positive > evidence.negative
        accepted = positive and context.step.ending is not Ending.CAP
        if context.step.ending is Ending.CAP:
            reason = CUT_REASON
        elif not answered:
            shown = f": {evidence.answer!r}" if evidence.answer else ""
            reason = f"no evidence: the answer begins with neither label{shown}"
        else:
            reason = f"the answer is {'positive' if positive else 'negative'}"
        return Verdict(
            accepted, float(positive), 1.0, reason, evidence, unanswered=not answered, kind="word"
        )
