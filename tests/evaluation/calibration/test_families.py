from __future__ import annotations

import math

import pytest

from dreamr.errors import Unsupported
from dreamr.evaluation.calibration import KINDS, calibrate_steps, family
from dreamr.gate import CascadeGate, LearnedGate, RatioGate
from support.judged_steps import steps


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_permissive_gate_within_the_bound_is_chosen(kind: str) -> None:
    data = steps(6000)
    found = calibrate_steps(
        family(kind, steps(2000, seed=9), target_confidence=0.5), data, 0.01, 0.95
    )
    assert found.chosen is not None
    assert found.chosen.tested.upper <= 0.01
    place = found.candidates.index(found.chosen)
    if place + 1 < len(found.candidates):
        assert found.candidates[place + 1].tested.upper > 0.01
    # The bound also holds on new steps.
    fresh = steps(8_000, seed=5)
    errors = sum(not step.right for step in fresh if step.accepted_by(found.chosen.gate))
    assert errors / len(fresh) <= 0.01


def test_a_more_permissive_threshold_accepts_no_less() -> None:
    for kind in ("ratio", "adaptive", "cascade", "likelihood", "draft-confidence"):
        found = calibrate_steps(family(kind, [], target_confidence=0.5), steps(800), 0.01, 0.95)
        shares = [candidate.accepted for candidate in found.candidates]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1]


def test_if_no_gate_keeps_the_bound_none_is_chosen() -> None:
    assert calibrate_steps(RatioGate, steps(50), 0.001, 0.95).chosen is None


def test_a_cascade_decides_as_in_a_run() -> None:
    gate = CascadeGate(0.99, target_confidence=0.5)
    for step in steps(500):
        min_margin = step.evidence.min_margin or 0.0
        expected = min_margin >= 0.5 or step.evidence.ratio >= 0.99
        assert step.accepted_by(gate) is expected


def test_a_confident_draft_is_accepted_whatever_the_target_says() -> None:
    gate = family("draft-confidence", [], target_confidence=1.0)(0.9)
    assert gate == CascadeGate(target_confidence=1.0, draft_confidence=0.9)
    for step in steps(500):
        confident = math.exp(step.situation.step.min_logprob or 0.0) >= 0.9
        assert step.accepted_by(gate) is (confident or step.evidence.ratio >= gate.threshold)


def test_a_learned_gate_separates_right_and_wrong_better_than_the_ratio() -> None:
    data = steps(8000, seed=3)
    learned = calibrate_steps(
        family("learned", steps(4000, seed=4), target_confidence=0.5), data, 0.003, 0.95
    )
    fixed = calibrate_steps(RatioGate, data, 0.003, 0.95)
    assert learned.chosen is not None
    assert fixed.chosen is not None
    assert isinstance(learned.chosen.gate, LearnedGate)
    # It accepts as many right steps and fewer wrong ones.
    assert learned.chosen.accepted > fixed.chosen.accepted - 0.002
    assert learned.chosen.tested.errors < fixed.chosen.tested.errors


def test_a_learned_gate_needs_right_and_wrong_steps() -> None:
    with pytest.raises(Unsupported, match="needs right and wrong steps"):
        family("learned", steps(50, wrong=0.0), target_confidence=0.5)
    with pytest.raises(Unsupported, match="known: ratio"):
        family("magic", [], target_confidence=0.5)
