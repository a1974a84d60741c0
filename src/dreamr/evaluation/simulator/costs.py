"""What work costs, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from dreamr.evaluation.simulator.devices import BadScenario


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of each kind of work, alone on its device.

    draft, target: of a token. judge: of a judge call, and beside that of each judged step and each
    of their tokens; a token that the target reads later, since it was trusted, costs as much.
    open_draft, open_target: of opening a lane. prompt_draft, prompt_target: of reading the
    question, once a run. message: until the schedule hears of what happened, during which engines
    may go on. ahead: how many tokens (no seconds) a lane without credit goes on writing.
    """

    draft: float
    target: float
    judge: float = 0.0
    judge_step: float = 0.0
    judge_token: float = 0.0
    open_draft: float = 0.0
    open_target: float = 0.0
    prompt_draft: float = 0.0
    prompt_target: float = 0.0
    message: float = 0.0
    ahead: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 <= getattr(self, item.name) < float("inf"):
                raise BadScenario(f"{item.name} must be a number of at least 0")
        if not (self.draft > 0 and self.target > 0):
            raise BadScenario("a token must cost something: draft and target must be above 0")

    @classmethod
    def relative(cls, c: float, v: float, draft: float = 1.0, target: float = 1.0) -> Self:
        """Costs in units of a target's step: a drafted step c, a judge call v.

        draft, target: mean tokens of their steps.
        """
        if not c > 0 or not v >= 0:
            raise BadScenario(f"c must be above 0 and v at least 0, not {c:g} and {v:g}")
        return cls(draft=c / draft, target=1 / target, judge=v)

    def judging(self, steps: int, tokens: int) -> float:
        """Seconds of one judge call."""
        return self.judge + self.judge_step * steps + self.judge_token * tokens

    def spread_out(self, speed: float) -> Self:
        """With a target that is so many times as fast."""
        names = ("target", "judge", "judge_step", "judge_token", "open_target", "prompt_target")
        return replace(self, **{name: getattr(self, name) / speed for name in names})

    @property
    def ideal(self) -> Self:
        """The engines' own work alone."""
        return replace(self, message=0.0, open_draft=0.0, open_target=0.0)
