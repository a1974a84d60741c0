"""What models write and think in random worlds, and how long they take."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dreamr.gate import Evidence, Verdict
from dreamr.steps import Ending, Finish, Step

Writing = tuple[Step | None, Finish | None]

_ENDINGS: dict[str, tuple[Ending | None, Finish | None]] = {
    "step": (Ending.DELIMITER, None),
    "last step": (Ending.DELIMITER, "stop"),
    "answer": (Ending.ANSWER, "stop"),
    "end": (Ending.END, "stop"),
    "cap": (Ending.CAP, None),
    "length": (Ending.CAP, "length"),
    "nothing": (None, "stop"),
    "no room": (None, "length"),
}


@dataclass(frozen=True)
class World:
    """What the models write and think: functions of the text before, and of nothing else.

    odd_drafts, odd_steps: how often the draft, the target write anything but a plain step.
    alike: how often the target writes what the draft would have written. shown: how often the
    judging shows how the target would begin. trusted: how often a drafted step needs no judge.
    """

    seed: int
    acceptance: float = 0.5
    odd_drafts: float = 0.2
    odd_steps: float = 0.1
    alike: float = 0.0
    shown: float = 0.5
    skipped_verification: float = 0.0

    def write(self, role: str, prefix: Sequence[str]) -> Writing:
        luck = random.Random(f"{self.seed} alike {''.join(prefix)}")
        role = "draft" if luck.random() < self.alike else role
        luck = random.Random(f"{self.seed} {role} {''.join(prefix)}")
        odd = luck.random() < (self.odd_drafts if role == "draft" else self.odd_steps)
        ending, finish = _ENDINGS[luck.choice(list(_ENDINGS)) if odd else "step"]
        if ending is None:
            return None, finish
        text = f"{role[0]}{luck.randrange(1000)}{'.' if ending is Ending.END else chr(10) * 2}"
        return Step(text, luck.randint(1, 9), ending), finish

    def resample(self, prefix: Sequence[str], number: int) -> Writing:
        """What the draft writes instead of a rejected step; sometimes the same step."""
        luck = random.Random(f"{self.seed} try {number} {''.join(prefix)}")
        if luck.random() < 0.2:
            return self.write("draft", prefix)
        step, finish = self.write("draft", [*prefix, f"try {number}"])
        return (None if step is None else replace(step, text=f"try {step.text}")), finish

    def verdict(self, prefix: Sequence[str], step: Step, resamples: int = 0) -> Verdict:
        luck = random.Random(f"{self.seed} judge {resamples} {''.join(prefix)}|{step.text}")
        accepted, ratio = luck.random() < self.acceptance, luck.random()
        own, _ = self.write("target", prefix)
        shown = own is not None and luck.random() < self.shown
        begun = own.text[: luck.randint(1, len(own.text))] if own is not None and shown else ""
        evidence = Evidence(ratio, 1 - ratio, target_prefix=begun)
        return Verdict(accepted, ratio, 0.5, "the world says so", evidence, kind="ratio")

    def decide_without_target(self, prefix: Sequence[str], step: Step) -> Verdict | None:
        """On a drafted step about which nobody need be asked."""
        luck = random.Random(f"{self.seed} trust {''.join(prefix)}|{step.text}")
        if step.ending is Ending.CAP or luck.random() >= self.skipped_verification:
            return None
        return Verdict(True, 0.99, 0.95, "the draft is confident", kind="draft_probability")

    def complete(self, prefix: Sequence[str], begun: str) -> Writing:
        """The draft's step where the target's beginning is given: often the target's own."""
        luck = random.Random(f"{self.seed} complete {''.join(prefix)}|{begun}")
        own = self.write("target", prefix)
        if luck.random() < 0.5:
            return own
        step, finish = self.write("draft", [*prefix, begun])
        return (None if step is None else replace(step, text=begun + step.text)), finish


@dataclass(frozen=True)
class Pace:
    """Virtual seconds of a step of each model and of a judge call, times something random."""

    draft: float = 1.0
    target: float = 3.0
    judge: float = 0.5
    jitter: float = 1.0
