"""Each verdict says what its score measures."""

from __future__ import annotations

import math

import pytest

from dreamr.gate import (
    SIGNALS,
    AdaptiveGate,
    AgreementGate,
    CascadeGate,
    DraftFirstGate,
    EntropyGate,
    Evidence,
    Gate,
    LearnedGate,
    LikelihoodGate,
    RatioGate,
    SameGate,
    ScoreGate,
    ScoreKind,
    StepContext,
    TolerantGate,
    TwoQuestionsGate,
    Verdict,
    WordGate,
)
from dreamr.steps import Ending, Step

STEP = StepContext(
    Step("Tea costs 12.\n\n", 5, Ending.DELIMITER, -0.1, math.log(0.98), math.log(2)), 0
)
SEEN = Evidence(
    0.9, 0.1, tokens=5, matched_tokens=4, mean_margin=0.8, min_margin=0.1, surest_mismatch=0.25
)


@pytest.mark.parametrize(
    ("gate", "kind", "score"),
    [
        (RatioGate(), "ratio", 0.9),
        (AdaptiveGate(), "ratio", 0.9),
        (CascadeGate(target_confidence=0.3), "ratio", 0.9),
        (CascadeGate(target_confidence=0.05), "likelihood", 0.8),
        (LikelihoodGate(), "likelihood", 0.8),
        (LearnedGate((0.0,) * len(SIGNALS), 0.0), "probability", 0.5),
        (SameGate(), "equivalence", 0.9),
        (AgreementGate(), "agreement", 0.8),
        (WordGate(), "word", 1.0),
        (DraftFirstGate(), "ratio", 0.9),
        (TwoQuestionsGate(), "ratio", 0.9),
        (TolerantGate(), "tolerance", 0.75),
        (EntropyGate(), "draft_certainty", 0.5),
    ],
)
def test_the_score_is_of_the_stated_kind(gate: Gate, kind: ScoreKind, score: float) -> None:
    verdict = gate.decide(SEEN, STEP)
    assert (verdict.kind, verdict.score) == (kind, pytest.approx(score))


@pytest.mark.parametrize("gate", [LikelihoodGate(), TolerantGate(), EntropyGate()])
def test_a_gate_that_is_told_nothing_shows_no_score(gate: Gate) -> None:
    silent = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
    verdict = gate.decide(Evidence(0.0, 0.0), silent)
    assert not verdict.accepted
    assert verdict.score_text == "no score"
    assert "does not report" in verdict.reason


def test_a_rating_is_in_ninths() -> None:
    verdict = ScoreGate().decide(Evidence(0, 0, scores=(0.0,) * 9 + (1.0,)), STEP)
    assert (verdict.kind, verdict.score) == ("rating", 1.0)


def test_a_step_that_the_target_never_saw_has_the_draft_s_probability() -> None:
    verdict = CascadeGate(draft_confidence=0.9).decide_without_target(STEP)
    assert verdict is not None
    assert (verdict.kind, verdict.score_text) == ("draft_probability", "draft confidence 0.98")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ratio", "judge ratio 0.93"),
        ("likelihood", "target likelihood 0.93"),
        ("rating", "judge rating 0.93"),
        ("none", "no score"),
    ],
)
def test_a_score_is_shown_with_its_kind(kind: ScoreKind, text: str) -> None:
    assert Verdict(True, 0.93, 0.7, "", kind=kind).score_text == text
