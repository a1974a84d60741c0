from __future__ import annotations

import pytest

from dreamr.gate import AdaptiveGate, Evidence, FixedGate, Situation
from dreamr.steps import Ending, Step

STEP = Situation(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
CUT = Situation(Step("Tea costs", 5, Ending.CAP), 0)


def seen(ratio: float, weakest: float | None) -> Evidence:
    return Evidence(ratio, 1 - ratio, weakest=weakest)


@pytest.mark.parametrize(
    ("weakest", "needed"),
    [(1.0, 0.4), (0.6, 0.64), (0.5, 0.7), (0.25, 0.85), (0.01, 0.925), (None, 0.7)],
)
def test_the_threshold_follows_how_sure_the_target_is(weakest: float, needed: float) -> None:
    gate = AdaptiveGate(0.7)
    assert gate.decide(seen(0.5, weakest), STEP).threshold == pytest.approx(needed)
    assert gate.decide(seen(needed + 0.01, weakest), STEP).accepted
    assert not gate.decide(seen(needed - 0.01, weakest), STEP).accepted


def test_it_is_no_more_lenient_where_there_is_nothing_to_decide_on() -> None:
    for evidence, situation in ((seen(0.99, 1.0), CUT), (Evidence(0, 0, weakest=1.0), STEP)):
        assert not AdaptiveGate(0.0).decide(evidence, situation).accepted
        assert not FixedGate(0.0).decide(evidence, situation).accepted
