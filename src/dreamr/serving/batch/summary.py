"""What a batch did: answers, errors, tokens and time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_MINUTE, _HOUR = 60, 3600
_JUDGED = ("accepted", "rejected")


@dataclass(slots=True)
class Summary:
    """Figures of answered requests: since the start of the process, or of a shared batch.

    Attributes:
        answered: Number of answers.
        failed: Number of errors.
        skipped: Number of requests that were answered, or had failed, before.
        seconds: Time since the start.
        tokens: Tokens that each model wrote.
        judged: Tokens of the draft's judged steps: accepted and rejected.
        steps: Committed steps, by the model that wrote them.
        alone: Sum of the seconds that the target alone would have taken, where it is estimated.
        estimated: Sum of the seconds of the runs with an estimate.
    """

    answered: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    tokens: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    alone: float = 0.0
    estimated: float = 0.0

    def add(self, body: Any) -> None:
        """Count an answer by its body."""
        self.answered += 1
        about = body.get("dreamr") or {}
        for role, used in (about.get("usage") or {}).items():
            if isinstance(used, dict):
                self.tokens[role] += sum(v for v in used.values() if isinstance(v, int))
                self.judged.update(
                    {name: used[name] for name in _JUDGED if role == "draft" and name in used}
                )
        for step in about.get("steps") or ():
            self.steps[step["source"]] += 1
        if alone := about.get("target_alone_seconds"):
            self.alone += alone
            self.estimated += about["seconds"]

    def lines(self) -> list[str]:
        """Return the summary for people."""
        done = f"{self.answered:,} answered, {self.failed:,} failed"
        if self.skipped:
            done += f", {self.skipped:,} done before"
        found = [f"{done}; {duration(self.seconds)}"]
        if self.tokens:
            written = ", ".join(f"{role} {count:,}" for role, count in self.tokens.items())
            found.append(f"tokens: {written}")
        if total := self.judged.total():
            share = self.judged["accepted"] / total
            found.append(f"accepted: {share:.0%} of the {total:,} tokens of judged steps")
        if total := self.steps.total():
            found.append(f"steps by the draft: {self.steps['draft'] / total:.0%} of {total:,}")
        if self.estimated:
            saved, ratio = 1 - self.estimated / self.alone, self.alone / self.estimated
            found.append(
                f"estimated saving over the target alone: {saved:.0%} of the time of a request "
                f"(speed-up {ratio:.2f})"
            )
        return found


def duration(seconds: float) -> str:
    """Return a duration for people, such as 2 h 5 min."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
