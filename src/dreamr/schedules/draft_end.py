"""The draft's own end, and verdicts on steps that were not judged."""

from __future__ import annotations

from dreamr.gate import Verdict
from dreamr.schedules.protocol import FinalAnswer
from dreamr.steps import Ending, Step

DRAFT_END = "the target decides when the reasoning is complete"
PREDICTED = "the target wrote the same"
CUT = Verdict(False, 0.0, 1.0, "cut by the length cap", kind="none")


def ends_reasoning(step: Step) -> bool:
    """Whether the step is meant as the last: a marked answer, or an end without delimiter."""
    return step.ending in (Ending.ANSWER, Ending.END)


def is_draft_end(step: Step, final_answer: FinalAnswer) -> bool:
    """Whether the step needs no verdict, because the target writes the end itself."""
    return final_answer == "target" and ends_reasoning(step)


def judge_failed(message: str) -> Verdict:
    """The verdict where there is none."""
    return Verdict(False, 0.0, 1.0, f"judging failed: {message}", kind="none")
