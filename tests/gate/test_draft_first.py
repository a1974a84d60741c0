from __future__ import annotations

from dataclasses import replace

import pytest

from dreamr.gate import DraftFirstGate, Evidence, StepContext
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
GATE = DraftFirstGate(draft_confidence=0.9)


def own(ratio: float, mass: float = 1.0) -> StepContext:
    return replace(STEP, draft_evidence=Evidence(ratio * mass, (1 - ratio) * mass))


@pytest.mark.parametrize(("ratio", "accepted"), [(0.95, True), (0.9, True), (0.05, False)])
def test_a_sure_draft_decides_alone(ratio: float, accepted: bool) -> None:
    verdict = GATE.decide_without_target(own(ratio))
    assert verdict is not None
    assert (verdict.accepted, verdict.kind) == (accepted, "draft_ratio")
    assert verdict.score == pytest.approx(ratio)


@pytest.mark.parametrize(
    "context",
    [
        own(0.6),
        own(0.99, mass=0.001),  # the draft did not answer
        STEP,
        replace(own(0.99), step=replace(STEP.step, ending=Ending.CAP)),
        replace(own(0.92), resamples=1),  # stricter
    ],
)
def test_the_target_decides_on_the_others(context: StepContext) -> None:
    assert GATE.decide_without_target(context) is None
    if context.step.ending is not Ending.CAP:
        assert GATE.decide(Evidence(0.99, 0.01), context).accepted


def test_both_models_are_asked() -> None:
    assert GATE.needs == {"probabilities of the verdict's labels", "the draft's verdicts"}
    assert GATE.draft_query is not None


def test_a_confidence_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="draft_confidence must be between 0 and 1"):
        DraftFirstGate(draft_confidence=-0.1)


def test_what_the_draft_would_write_does_not_count_as_the_target_s() -> None:
    evidence = Evidence(0.01, 0.99, target_prefix="Tea")
    verdict = GATE.decide_without_target(replace(STEP, draft_evidence=evidence))
    assert verdict is not None
    assert verdict.evidence == Evidence(0.01, 0.99)
    assert not verdict.by_target
    assert verdict.label_mass is None
