"""The check of two models together."""

from __future__ import annotations

from dreamr.serving.doctor.checks import ModelUnderTest
from dreamr.serving.doctor.finding import Finding

_ASSUMED_ACCEPTANCE = 0.9
_MIN_USEFUL_SPEEDUP = 1.2


def pair_checks(target: ModelUnderTest, draft: ModelUnderTest) -> Finding:
    """Estimate the speed-up of the pair from the decode rates of both models.

    For steps of equal length the speed-up is about 1 / (1 - a (1 - c)), where a is the acceptance,
    assumed to be 0.9, and c is the draft's time per token divided by the target's.

    Args:
        target: Target, after `run_checks`.
        draft: Draft, after `run_checks`.
    """
    if not target.seconds or not draft.seconds:
        return Finding(
            "speed", "unknown", "no estimate: one of the models wrote too few tokens to be timed"
        )
    cost = draft.seconds / target.seconds
    gain = 1 / (1 - _ASSUMED_ACCEPTANCE * (1 - min(cost, 1.0)))
    seen = (
        f"a draft token takes {cost:.2f} times as long as a target token: at "
        f"{_ASSUMED_ACCEPTANCE:.0%} accepted steps the pair is up to {gain:.1f} times as fast as "
        "the target alone"
    )
    if gain < _MIN_USEFUL_SPEEDUP:
        return Finding(
            "speed", "degraded", seen, "use a smaller draft, or run the draft on its own device"
        )
    return Finding("speed", "ok", seen)
