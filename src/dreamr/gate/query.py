"""Queries: what a judge call asks about steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dreamr.gate.evidence import Evidence

QueryKind: TypeAlias = Literal["verdict", "word", "seen", "follows", "score", "same", "agreement"]

# What engines must report for a gate, in the words of error messages.
Need: TypeAlias = Literal[
    "probabilities of the verdict's labels",
    "verdicts in words",
    "probabilities of given tokens",
    "the draft's log-probabilities",
    "the draft's entropy",
    "the draft's verdicts",
]


@dataclass(frozen=True, slots=True)
class Query:
    """What one judge call asks.

    Attributes:
        kind: 'verdict': whether the step is right, answered with a label (TBVM in the paper).
            'word': the same, for engines that report no probabilities: the target generates its
            answer, and the label is read from it. 'seen': whether what the step reads from images
            or from the question is there. 'follows': whether the step follows from the steps before
            it. 'score': how sound the step is, from 0 to 9 (SpecReason). 'same': whether it is
            equivalent to the target's own step, answered with a label (Lookahead Reasoning).
            'agreement': no judge prompt; only how many tokens the target would have written itself
            (token-level speculative decoding).
        others: For 'same', the target's own step for each candidate.
        unasked: Candidates that begin with this text are read without a judge prompt, and their
            evidence is that of 'agreement'. Empty if all are asked about.
        target_confidence: The judge prompt may be skipped for a step in which no token has a margin
            below this (see `Evidence.min_margin`). Engines do so where it saves time. None to ask
            about every step.
        margins: Whether the evidence must have the margins of the step's tokens. Engines that read
            them from the same forward pass report them anyway; for others they cost a request.
        window: Whether an engine whose judge calls are independent requests may put the questions
            about all candidates into one (`Capabilities.windows`). Each verdict then also depends
            on the questions before it.
        measured: Whether an engine may choose by measured times whether it reads margins, where a
            judge prompt can decide instead. Verdicts then depend on these times.
    """

    kind: QueryKind = "verdict"
    others: tuple[str, ...] = ()
    unasked: str = ""
    target_confidence: float | None = None
    margins: bool = False
    window: bool = False
    measured: bool = False

    @property
    def needs(self) -> frozenset[Need]:
        """What an engine must report to answer the query."""
        found: set[Need] = {"probabilities of given tokens"} if self.margins else set()
        if self.kind == "word":
            found.add("verdicts in words")
        elif self.kind != "agreement":
            found.add("probabilities of the verdict's labels")
        return frozenset(found)

    def concerns(self, candidate: str) -> bool:
        """Check whether the judge prompt applies to this candidate."""
        silent = self.unasked and candidate.lstrip().startswith(self.unasked)
        return self.kind != "agreement" and not silent

    def skips(self, evidence: Evidence) -> bool:
        """Check whether the margins of a step are so high that nothing is asked about it."""
        least, needed = evidence.min_margin, self.target_confidence
        return least is not None and needed is not None and least >= needed


VERDICT = Query()
