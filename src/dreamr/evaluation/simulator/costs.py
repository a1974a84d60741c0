"""Costs of the engines' work, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from dreamr.evaluation.simulator.devices import BadScenario


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of each kind of work if it runs alone on its device.

    `Costs.relative` uses target-step units instead of seconds.

    Attributes:
        draft: Per token that the draft decodes.
        target: Per token that the target decodes.
        judge: Per judge call.
        judge_step: Per judged step, in addition to `judge`.
        judge_token: Per token of a judged step, in addition to `judge_step`. Also the cost of each
            token that the target prefills later because its step was accepted without it.
        open_draft: Per lane of the draft that is opened.
        open_target: Per lane of the target that is opened.
        prompt_draft: Prefill of the prompt by the draft, once per run.
        prompt_target: Prefill of the prompt by the target, once per run.
        message: Delay until a signal reaches the schedule; engines keep working during it.
        ahead: Tokens, not seconds, that a lane may write before it has credit for its next step.

    Raises:
        BadScenario: If a value is negative or not finite, or tokens cost nothing.
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
                raise BadScenario(f"{item.name} must be a finite number of at least 0")
        if not (self.draft > 0 and self.target > 0):
            raise BadScenario("the cost of a token must be above 0 for draft and target")

    @classmethod
    def relative(cls, c: float, v: float, draft: float = 1.0, target: float = 1.0) -> Self:
        """Create costs in target-step units.

        Args:
            c: Cost of a drafted step.
            v: Cost of a judge call.
            draft: Mean tokens of a drafted step.
            target: Mean tokens of a target step.

        Raises:
            BadScenario: If c is not above 0 or v is negative.
        """
        if not c > 0 or not v >= 0:
            raise BadScenario(
                "the cost of a drafted step must be above 0 and that of a judge call at least 0, "
                f"not {c:g} and {v:g}"
            )
        return cls(draft=c / draft, target=1 / target, judge=v)

    def judging(self, steps: int, tokens: int) -> float:
        """Return the seconds of a judge call over this number of steps and of tokens in them."""
        return self.judge + self.judge_step * steps + self.judge_token * tokens

    def spread_out(self, speed: float) -> Self:
        """Return the costs with a target that is `speed` times as fast."""
        names = ("target", "judge", "judge_step", "judge_token", "open_target", "prompt_target")
        return replace(self, **{name: getattr(self, name) / speed for name in names})

    @property
    def ideal(self) -> Self:
        """The same costs without messages and without opening lanes."""
        return replace(self, message=0.0, open_draft=0.0, open_target=0.0)
