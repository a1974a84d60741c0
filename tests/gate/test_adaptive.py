from __future__ import annotations

import pytest

from dreamr.gate import AdaptiveGate, Evidence, RatioGate, StepContext
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
CUT = StepContext(Step("Tea costs", 5, Ending.CAP), 0)


def seen(ratio: float, min_margin: float | None) -> Evidence:
    return Evidence(ratio, 1 - ratio, min_margin=min_margin)


@pytest.mark.parametrize(
    ("min_margin", "needed"),
    [(1.0, 0.4), (0.6, 0.64), (0.5, 0.7), (0.25, 0.85), (0.01, 0.925), (None, 0.7)],
)
def test_the_threshold_follows_how_sure_the_target_is(min_margin: float, needed: float) -> None:
    gate = AdaptiveGate(0.7)
    assert gate.decide(seen(0.5, min_margin), STEP).threshold == pytest.approx(needed)
    assert gate.decide(seen(needed + 0.01, min_margin), STEP).accepted
    assert not gate.decide(seen(needed - 0.01, min_margin), STEP).accepted


def test_cut_steps_and_missing_evidence_are_rejected() -> None:
    for evidence, context in ((seen(0.99, 1.0), CUT), (Evidence(0, 0, min_margin=1.0), STEP)):
        assert not AdaptiveGate(0.0).decide(evidence, context).accepted
        assert not RatioGate(0.0).decide(evidence, context).accepted
