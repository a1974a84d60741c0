from __future__ import annotations

import pytest

from dreamr.gate import (
    GATES,
    SIGNALS,
    AgreementGate,
    CascadeGate,
    Gate,
    LearnedGate,
    RatioGate,
    WordGate,
    at_strictness,
    strictness,
)


def test_the_strictness_of_a_cascade_is_its_draft_confidence() -> None:
    gate = CascadeGate(0.7, target_confidence=0.3, draft_confidence=0.95)
    assert strictness(gate) == 0.95
    assert at_strictness(gate, 0.99) == CascadeGate(
        0.7, target_confidence=0.3, draft_confidence=0.99
    )
    assert at_strictness(CascadeGate(0.7), 0.8) == CascadeGate(0.8)


@pytest.mark.parametrize("kind", [kind for kind in GATES if kind != "word"])
def test_a_strictness_can_be_set_and_read(kind: str) -> None:
    gate: Gate = LearnedGate((0.0,) * len(SIGNALS), 0.0) if kind == "learned" else GATES[kind]()
    assert strictness(at_strictness(gate, 0.42)) == 0.42


def test_a_gate_without_such_a_number_stays_as_it_is() -> None:
    assert strictness(AgreementGate()) is None
    assert strictness(WordGate()) is None
    assert at_strictness(AgreementGate(), 0.5) == AgreementGate()
    assert strictness(RatioGate(0.6)) == 0.6
