from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from dreamr import RunOptions
from dreamr.gate import (
    GATES,
    CascadeGate,
    DraftFirstGate,
    LikelihoodGate,
    RatioGate,
    SameGate,
    WordGate,
    gate_name,
    make_gate,
    with_min_mass,
)

CHOICES = get_args(get_type_hints(RunOptions)["gate"])


@pytest.mark.parametrize("name", CHOICES)
def test_every_gate_of_the_options_is_made_by_its_name(name: str) -> None:
    gate = RunOptions(gate=name, threshold=0.6).run_config().gate  # type: ignore[arg-type]
    assert type(gate) is GATES[name]
    assert gate_name(gate) == name
    assert getattr(gate, "threshold", 0.6) == 0.6


def test_options_offer_every_gate_that_needs_no_training() -> None:
    assert set(CHOICES) == GATES.keys() - {"learned"}


def test_a_gate_takes_only_the_settings_that_it_has() -> None:
    settings = {"threshold": 0.6, "draft_confidence": 0.8, "target_confidence": None, "seed": 1}
    assert make_gate("cascade", settings) == CascadeGate(0.6, draft_confidence=0.8)
    assert make_gate("draft-first", settings) == DraftFirstGate(0.6, draft_confidence=0.8)
    assert make_gate("word", settings) == WordGate()


def test_a_gate_outside_the_registry_has_the_name_of_its_class() -> None:
    assert gate_name(SameGate()) == "SameGate"


def test_a_floor_of_label_mass_leaves_a_gate_s_own_as_it_is() -> None:
    assert with_min_mass(RatioGate(0.6), 0.5) == RatioGate(0.6, 0.5)
    assert with_min_mass(CascadeGate(0.6, 0.1), 0.5) == CascadeGate(0.6, 0.1)
    assert with_min_mass(LikelihoodGate(), 0.5) == LikelihoodGate()
