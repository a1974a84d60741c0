"""Default prompts of judge calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from dreamr._families import recognize


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


@cache
def questions_for(model: str, verdict: str | None = None) -> Questions:
    """Return the judge prompts for a model that is known by its name only, as at a server.

    Args:
        model: Name of the model.
        verdict: Prompt that replaces the question about a step; None for the family's own one, or
            the default.
    """
    known = dict(recognize(model).prompts)
    if verdict is not None:
        known["verdict"] = verdict
    return Questions(**known)
