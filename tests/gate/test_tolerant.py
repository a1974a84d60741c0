from __future__ import annotations

import pytest

from dreamr.gate import Evidence, StepContext, TolerantGate
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
CUT = StepContext(Step("Tea costs", 5, Ending.CAP), 0)


@pytest.mark.parametrize(("mismatch", "accepted"), [(0.0, True), (0.5, True), (0.51, False)])
def test_other_words_are_forgiven_where_the_target_is_unsure(
    mismatch: float, accepted: bool
) -> None:
    verdict = TolerantGate(0.5).decide(Evidence(0.0, 0.0, surest_mismatch=mismatch), STEP)
    assert (verdict.accepted, verdict.kind) == (accepted, "tolerance")
    assert verdict.score == pytest.approx(1 - mismatch)


def test_missing_evidence_and_cut_steps_are_rejected() -> None:
    assert not TolerantGate(0.0).decide(Evidence(0.0, 0.0), STEP).accepted
    assert not TolerantGate(0.0).decide(Evidence(0.0, 0.0, surest_mismatch=0.0), CUT).accepted


def test_a_threshold_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TolerantGate(-0.5)
