"""Scripts for tests."""

from __future__ import annotations

import random

from dreamr.evaluation.simulator import Drafted, Own, Script

TOKENS = 10


def even_script(steps: int, acceptance: float, seed: int = 0) -> Script:
    """Steps of ten tokens without an end; the share that is accepted is exactly as stated."""
    accepted = round(acceptance * steps)
    verdicts = [True] * accepted + [False] * (steps - accepted)
    random.Random(seed).shuffle(verdicts)
    drafted = [Drafted(TOKENS, verdict) for verdict in verdicts]
    return Script(drafted, [Own(TOKENS, TOKENS)] * steps, ends=False)
