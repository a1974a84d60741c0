"""Default prompts of judge calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Questions:
    """Prompts of judge calls for models that do not bring their own.

    Attributes:
        verdict: Asks whether the last step is right; for the gates of this project.
        score: Asks for a rating of the last step from 0 to 9; for SpecReason.
        same: Asks whether the last step is equivalent to the step at `{step}`; for Lookahead
            Reasoning.
        seen: Asks whether what the last step reads from its sources is there; for two questions.
        follows: Asks whether the last step follows from those before it; for two questions.
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
    seen: str = (
        "Is everything that the last step reads from the image or the question really there? "
        "Answer positive or negative."
    )
    follows: str = (
        "Does the last step follow from what comes before it, without an error? "
        "Answer positive or negative."
    )

    def about(self, step: str) -> str:
        """Return the prompt that asks whether the last step is equivalent to a given step."""
        return self.same.replace("{step}", step.strip())
