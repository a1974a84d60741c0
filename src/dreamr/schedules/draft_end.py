"""The draft's end of the reasoning, and verdicts on steps that were not judged."""

from __future__ import annotations

from dreamr.gate import CUT_REASON, Verdict
from dreamr.schedules.protocol import FinalAnswer
from dreamr.steps import Ending, Step

# Reasons that traces and timelines show.
DRAFT_END = "the target writes the end of the reasoning"
PREDICTED = "the target wrote the same step"
RUN_ENDED = "run ended"
CUT = Verdict(False, 0.0, 1.0, CUT_REASON, kind="none")


def refused(step: Step, verdict: Verdict | None) -> Verdict | None:
    """Return the verdict on a drafted step that is rejected before it is judged, else None.

    Args:
        step: The step, which may be cut.
        verdict: Verdict of the gate without the target, None if there is none.
    """
    if step.ending is Ending.CAP:
        return CUT
    return None if verdict is None or verdict.accepted else verdict


def ends_reasoning(step: Step) -> bool:
    """Check whether its writer meant the step as the last: an answer, or an end of the stream."""
    return step.ending in (Ending.ANSWER, Ending.END)


def ends_in_thought(step: Step | None) -> bool:
    """Check whether the stream ended with a thought, so that there is no answer."""
    return step is not None and step.ending is Ending.THOUGHT


def is_draft_end(step: Step, final_answer: FinalAnswer) -> bool:
    """Check whether the step ends the draft's reasoning, and the target writes the end instead.

    Such a step needs no verdict. An end without an answer is always the target's to write.
    """
    return ends_in_thought(step) or (final_answer == "target" and ends_reasoning(step))


def judge_failed(message: str) -> Verdict:
    """Return the rejecting verdict on a step whose judge call failed."""
    return Verdict(False, 0.0, 1.0, f"judge call failed: {message}", kind="none")
