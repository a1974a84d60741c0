"""Scripts for tests."""

from __future__ import annotations

import random

from dreamr.evaluation.simulator import DraftedStep, Script, TargetStep

TOKENS = 10


def even_script(steps: int, acceptance: float, seed: int = 0) -> Script:
    """Return a script of ten-token steps without an end and with an exact share of acceptance."""
    accepted = round(acceptance * steps)
    verdicts = [True] * accepted + [False] * (steps - accepted)
    random.Random(seed).shuffle(verdicts)
    drafted = [DraftedStep(TOKENS, verdict) for verdict in verdicts]
    return Script(drafted, [TargetStep(TOKENS, TOKENS)] * steps, ends=False)
