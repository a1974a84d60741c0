"""What the models would write and say in one run, position by position.

A script does not depend on timing, so that all methods and machines meet the same luck. A position
that is drafted twice has the same step both times: the first was discarded unread.
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
_RESAMPLES = 8  # no method draws more
_BEGUN = Evidence(0.0, 1.0, target_prefix="target")


@dataclass(frozen=True, slots=True)
class DraftedStep:
    """A step of the draft: its tokens, and whether the gate accepts it.

    draft_end: whether the draft ends with it. same: whether the target writes the same words, so
    that no judge call is needed. completes: where it is rejected and the draft is shown how the
    target begins its own step, the tokens that the draft then writes to end that like the target; 0
    where it ends it otherwise. resample: where it is rejected, the number of the resample that is
    accepted, from 1 on; 0: none. skipped_verification: whether it is accepted without the target,
    which has not read it then.
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
    """A step of the target. work: for how many tokens it has to compute, where some are known."""

    tokens: int
    work: float


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one run, one a position, by either model.

    ends: whether the last is the final answer; else a limit on steps ends the run.
    """

    drafted: Sequence[DraftedStep]
    target: Sequence[TargetStep]
    ends: bool = True

    def __len__(self) -> int:
        return len(self.target)

    def write(self, role: Role, position: int) -> tuple[Step, float, Finish | None]:
        """The step at a position, its work in tokens, and how the stream ends with it."""
        entry = self.at(position) if role == "draft" else self.target[position % len(self.target)]
        work = entry.work if isinstance(entry, TargetStep) else entry.tokens
        ending, finish = self._ending(entry, position)
        writer = "either" if self.at(position).same else role
        return Step(f"{writer} {position}", entry.tokens, ending), work, finish

    def complete(self, position: int) -> tuple[Step, float, Finish | None]:
        """The target's own step as the draft ends it, as `write`."""
        step, _, finish = self.write("target", position)
        tokens = self.at(position).completes
        return replace(step, tokens=tokens), tokens, finish

    def resample(self, position: int, number: int) -> tuple[Step, float, Finish | None]:
        """The draft's candidate of that number after a rejected step, as `write`."""
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
        """The same with the target asked about every step."""
        return replace(
            self, drafted=[replace(step, skipped_verification=False) for step in self.drafted]
        )

    def at(self, position: int) -> DraftedStep:
        """The drafted step at a position."""
        return self.drafted[position % len(self.target)]

    def decide_without_target(self, position: int) -> Verdict | None:
        """On the drafted step at a position, where the target need not be asked."""
        return _SKIPPED if self.at(position).skipped_verification else None

    def verdict(self, position: int, resamples: int = 0) -> Verdict:
        """On the drafted step at a position, or a candidate there after a rejected one."""
        entry = self.at(position)
        if entry.resample == resamples if resamples else entry.accepted:
            return _ACCEPTED
        return replace(_REJECTED, evidence=_BEGUN) if entry.completes else _REJECTED


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a step: a gamma distribution, in whole tokens, at least one.

    cv: coefficient of variation, standard deviation over mean; 0 is always the same.
    """

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.mean < 1e6:
            raise BadScenario(f"steps must have a mean of 1 to 1e6 tokens, not {self.mean:g}")
        if not 0 <= self.cv <= 3:
            raise BadScenario(f"the variation of lengths must lie in [0, 3], not {self.cv:g}")

    def draw(self, rng: random.Random) -> int:
        """One length."""
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
    """A script with independent acceptance; the same for the same seed.

    even: the share of accepted steps is as stated, to one step, instead of on the average.
    resample_acceptance: how often a further try at a rejected step is accepted.
    skipped_verification: how many of the accepted steps need no target.
    """
    other_rng = random.Random(f"{seed} again")
    draft_confidence = random.Random(f"{seed} trust")
    rng = random.Random(seed)
    ranks = rng.sample(range(steps), steps)
    drafted, written = [], []
    for rank in ranks:
        drawn = (rank + 0.5) / steps if even else rng.random()
        accepted_ones = (
            n for n in range(1, _RESAMPLES + 1) if other_rng.random() < resample_acceptance
        )
        accepted, unseen = drawn < acceptance, draft_confidence.random() < skipped_verification
        drafted.append(
            DraftedStep(
                draft.draw(rng),
                accepted,
                resample=next(accepted_ones, 0),
                skipped_verification=accepted and unseen,
            )
        )
        tokens = target.draw(rng)
        written.append(TargetStep(tokens, tokens))
    return Script(drafted, written, ends)
