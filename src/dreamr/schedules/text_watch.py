"""Limits that depend on what the committed text says: long thoughts, and repetition."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.steps import LoopSearch, Step, Thoughts

# Repetitions that make a loop. Outside a thought, a user may have asked for some.
_IN_THOUGHT, _OUTSIDE = 3, 9


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Limits of what a run may write.

    Attributes:
        thinking_budget: Number of committed tokens of thoughts at which an open thought is closed.
            None: there is no limit.
        opens_thought: Whether the chat template opens a thought.
        closing: Text that closes a thought. None: the tag that belongs to the one that opened it.
        answer_marker: Text that begins the final answer; None if answers are not marked.
    """

    thinking_budget: int | None = None
    opens_thought: bool = False
    closing: str | None = None
    answer_marker: str | None = None


class TextWatch:
    """Follows the committed text of a run."""

    def __init__(self, limits: TextLimits) -> None:
        self._limits = limits
        self._thoughts = Thoughts(opened=limits.opens_thought)
        self._loops = LoopSearch()
        self._spent = 0  # tokens of thoughts

    @property
    def inside(self) -> bool:
        """Whether the text ends inside a thought."""
        return self._thoughts.inside

    def add(self, step: Step) -> None:
        """Note a committed step."""
        inside = self.inside
        if self._thoughts.push(step.text) or inside:
            self._spent += step.tokens
        self._loops.add(step)

    @property
    def problem(self) -> str | None:
        """Why the text has reached a limit; None if it has not."""
        budget = self._limits.thinking_budget
        if self.inside and budget is not None and self._spent >= budget:
            return f"the thinking budget of {budget} tokens is spent, after {self._spent}"
        if self._loops.repeats(_IN_THOUGHT if self.inside else _OUTSIDE):
            return "the text repeats itself"
        return None
