"""What two models promise together."""

from __future__ import annotations

from dreamr.serving.doctor.checks import ModelUnderTest
from dreamr.serving.doctor.finding import Finding

_USUAL_ACCEPTANCE = 0.9
_LEAST_WORTH = 1.2


def pair_checks(target: ModelUnderTest, draft: ModelUnderTest) -> Finding:
    """What a draft of this speed can give: at equal steps about 1 / (1 - a (1 - c)).

    a: acceptance, here taken for 0.9; c: the time of a drafted token over that of one of the
    target's.
    """
    if not target.seconds or not draft.seconds:
        return Finding("speed", "unknown", "a model wrote too little to be timed")
    cost = draft.seconds / target.seconds
    gain = 1 / (1 - _USUAL_ACCEPTANCE * (1 - min(cost, 1.0)))
    seen = f"a drafted token takes {cost:.2f} of the target's"
    if gain < _LEAST_WORTH:
        return Finding(
            "speed",
            "degraded",
            f"{seen}: there is little to gain",
            "a smaller draft, or a device of its own for it",
        )
    return Finding(
        "speed",
        "ok",
        f"{seen}: up to {gain:.1f} times as fast where nine steps of ten are accepted",
    )
