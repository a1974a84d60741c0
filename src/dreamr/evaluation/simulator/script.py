"""Scripted steps and verdicts of one run, position by position.

A script does not depend on timing, so all methods and machines get the same steps and verdicts. A
position that is drafted twice has the same step both times, because the first one was discarded
before it was judged.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dreamr.evaluation.simulator.devices import BadScenario
from dreamr.gate import Evidence, Verdict
from dreamr.steps import Ending, Finish, Role, Step

_ACCEPTED = Verdict(True, 1.0, 0.5, "accepted in the script", Evidence(1.0, 0.0), kind="none")
_REJECTED = Verdict(False, 0.0, 0.5, "rejected in the script", Evidence(0.0, 1.0), kind="none")
_SKIPPED = Verdict(True, 1.0, 0.5, "accepted without the target in the script", kind="none")
_RESAMPLES = 8  # upper limit of all methods
_BEGUN = Evidence(0.0, 1.0, target_prefix="target")


@dataclass(frozen=True, slots=True)
class DraftedStep:
    """A step of the draft.

    Attributes:
        tokens: Tokens of the step.
        accepted: Whether the gate accepts it.
        draft_end: Whether the draft ends its text with it.
        same: Whether the target writes the same text, so that no judge call is needed.
        completes: Tokens with which the draft completes the beginning of the target's own step,
            given that this step is rejected and the draft is shown that beginning. 0 if its
            completion differs from the target's.
        resample: Number, from 1, of the resample that is accepted if this step is rejected; 0 if
            none is.
        skipped_verification: Whether the step is accepted without the target, which then has not
            read it.
    """

    tokens: int
    accepted: bool
    draft_end: bool = False
    same: bool = False
    completes: int = 0
    resample: int = 0
    skipped_verification: bool = False


@dataclass(frozen=True, slots=True)
class TargetStep:
    """A step of the target.

    Attributes:
        tokens: Tokens of the step.
        work: Tokens that the target computes, fewer than `tokens` if some are known in advance.
    """

    tokens: int
    work: float


@dataclass(frozen=True, slots=True)
class Script:
    """Steps of both models in one run, one of each per position.

    Attributes:
        drafted: Steps of the draft.
        target: Steps of the target.
        ends: Whether the last step is the final answer. Otherwise the step limit ends the run.
    """

    drafted: Sequence[DraftedStep]
    target: Sequence[TargetStep]
    ends: bool = True

    def __len__(self) -> int:
        return len(self.target)

    def write(self, role: Role, position: int) -> tuple[Step, float, Finish | None]:
        """Return the step at a position, its work in tokens, and the finish if the stream ends."""
        entry = self.at(position) if role == "draft" else self.target[position % len(self.target)]
        work = entry.work if isinstance(entry, TargetStep) else entry.tokens
        ending, finish = self._ending(entry, position)
        writer = "either" if self.at(position).same else role
        return Step(f"{writer} {position}", entry.tokens, ending), work, finish

    def complete(self, position: int) -> tuple[Step, float, Finish | None]:
        """Return the target's own step as completed by the draft, in the form of `write`."""
        step, _, finish = self.write("target", position)
        tokens = self.at(position).completes
        return replace(step, tokens=tokens), tokens, finish

    def resample(self, position: int, number: int) -> tuple[Step, float, Finish | None]:
        """Return the resample of this number at a position, in the form of `write`."""
        step, work, finish = self.write("draft", position)
        return replace(step, text=f"try {number} {position}"), work, finish

    def _ending(
        self, entry: DraftedStep | TargetStep, position: int
    ) -> tuple[Ending, Finish | None]:
        if self.ends and position >= len(self.target) - 1:
            return Ending.ANSWER, "stop"
        if isinstance(entry, DraftedStep) and entry.draft_end:
            return Ending.END, "stop"
        return Ending.DELIMITER, None

    def fully_verified(self) -> Script:
        """Return a script in which no step is accepted without the target."""
        return replace(
            self, drafted=[replace(step, skipped_verification=False) for step in self.drafted]
        )

    def at(self, position: int) -> DraftedStep:
        """Return the drafted step at a position."""
        return self.drafted[position % len(self.target)]

    def decide_without_target(self, position: int) -> Verdict | None:
        """Return the verdict on the drafted step at a position if it needs no target, else None."""
        return _SKIPPED if self.at(position).skipped_verification else None

    def verdict(self, position: int, resamples: int = 0) -> Verdict:
        """Return the verdict on the drafted step at a position, or on one of its resamples.

        Args:
            position: Position of the step.
            resamples: Number of the resample, from 1; 0 for the drafted step.
        """
        entry = self.at(position)
        if entry.resample == resamples if resamples else entry.accepted:
            return _ACCEPTED
        return replace(_REJECTED, evidence=_BEGUN) if entry.completes else _REJECTED


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distribution of step lengths: gamma, rounded to whole tokens, at least one.

    Attributes:
        mean: Mean, in tokens.
        cv: Coefficient of variation (standard deviation over mean); 0 makes all steps equal.

    Raises:
        BadScenario: If the mean is outside [1, 1e6), or the coefficient outside [0, 3].
    """

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.mean < 1e6:
            raise BadScenario(
                f"the mean step length must be at least 1 and below 1e6 tokens, not {self.mean:g}"
            )
        if not 0 <= self.cv <= 3:
            raise BadScenario(
                "the coefficient of variation of step lengths must be between 0 and 3, "
                f"not {self.cv:g}"
            )

    def draw(self, rng: random.Random) -> int:
        """Draw a length, in tokens."""
        if self.cv == 0:
            return round(self.mean)
        shape = self.cv**-2
        return max(1, round(rng.gammavariate(shape, self.mean / shape)))


def draw_script(
    seed: str,
    steps: int,
    acceptance: float,
    draft: Lengths,
    target: Lengths,
    *,
    ends: bool,
    even: bool = False,
    resample_acceptance: float = 0.0,
    skipped_verification: float = 0.0,
) -> Script:
    """Draw a script with independent acceptance. The same seed gives the same script.

    Args:
        seed: Seed of all draws.
        steps: Number of steps.
        acceptance: Probability that a drafted step is accepted.
        draft: Lengths of the draft's steps.
        target: Lengths of the target's steps.
        ends: Whether the last step is the final answer.
        even: Whether the share of accepted steps is as stated, to one step, instead of on average.
        resample_acceptance: Probability that a resample of a rejected step is accepted.
        skipped_verification: Share of the accepted steps that are accepted without the target.
    """
    # Separate generators, so that one option does not change the draws of another.
    resampling_rng = random.Random(f"{seed} again")
    skipping_rng = random.Random(f"{seed} trust")
    rng = random.Random(seed)
    ranks = rng.sample(range(steps), steps)
    drafted, written = [], []
    for rank in ranks:
        drawn = (rank + 0.5) / steps if even else rng.random()
        accepted_resamples = (
            n for n in range(1, _RESAMPLES + 1) if resampling_rng.random() < resample_acceptance
        )
        accepted, skips = drawn < acceptance, skipping_rng.random() < skipped_verification
        drafted.append(
            DraftedStep(
                draft.draw(rng),
                accepted,
                resample=next(accepted_resamples, 0),
                skipped_verification=accepted and skips,
            )
        )
        tokens = target.draw(rng)
        written.append(TargetStep(tokens, tokens))
    return Script(drafted, written, ends)
