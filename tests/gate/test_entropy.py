from __future__ import annotations

import math

import pytest

from dreamr.gate import EntropyGate, StepContext
from dreamr.steps import Ending, Step


def drafted(entropy: float | None, ending: Ending = Ending.DELIMITER) -> StepContext:
    return StepContext(Step("Tea costs 12.\n\n", 5, ending, entropy=entropy), 0)


@pytest.mark.parametrize(
    ("entropy", "accepted"), [(0.0, True), (0.3, True), (math.log(2), False), (5.0, False)]
)
def test_the_certainty_at_the_first_token_decides(entropy: float, accepted: bool) -> None:
    verdict = EntropyGate(0.7).decide_without_target(drafted(entropy))
    assert (verdict.accepted, verdict.evidence) == (accepted, None)
    assert verdict.score == pytest.approx(math.exp(-entropy))
    assert verdict.kind == "draft_certainty"


@pytest.mark.parametrize("step", [drafted(None), drafted(math.nan), drafted(0.0, Ending.CAP)])
def test_missing_entropy_and_cut_steps_are_rejected(step: StepContext) -> None:
    assert (
        not EntropyGate(0.0 if step.step.entropy is None else 0.1)
        .decide_without_target(step)
        .accepted
    )


def test_the_target_judges_nothing() -> None:
    assert EntropyGate().needs == {"the draft's entropy"}
    assert EntropyGate().query.kind == "agreement"


def test_a_threshold_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        EntropyGate(1.5)
