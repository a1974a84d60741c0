"""What a target is asked about a step, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Questions:
    """What a model is asked about a step, where nothing else is known of it.

    verdict: for the gate of this project. score and same: for those of SpecReason and Lookahead
    Reasoning; `{step}` stands for the step to compare with.
    """

    verdict: str = "Is the last step right? Answer positive or negative."
    score: str = (
        "How sound is the last step, in its facts and its logic, style aside? "
        "Answer with one digit from 0 to 9."
    )
    same: str = (
        "Does the last step say and compute the same as this one, style aside?\n\n{step}\n\n"
        "Answer positive or negative."
    )

    def about(self, step: str) -> str:
        """The question whether a step says the same as this one."""
        return self.same.replace("{step}", step.strip())
