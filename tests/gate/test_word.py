from __future__ import annotations

import pytest

from dreamr.gate import Evidence, StepContext, WordGate
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
CUT = StepContext(Step("Tea costs", 5, Ending.CAP), 0)


@pytest.mark.parametrize(
    ("evidence", "accepted", "text"),
    [
        (Evidence(1.0, 0.0, top_label=True, answer="Positive"), True, "positive"),
        (Evidence(0.0, 1.0, top_label=True, answer="negative"), False, "negative"),
        (Evidence(0.0, 0.0, top_label=False, answer="Well"), False, "missing"),
        (Evidence(0.6, 0.3, top_label=True), True, "positive"),  # probabilities of a local model
        (Evidence(0.3, 0.2, top_label=False), False, "missing"),
        (Evidence(0.9, 0.1), True, "positive"),  # an engine that does not know its top token
    ],
)
def test_the_word_decides(evidence: Evidence, accepted: bool, text: str) -> None:
    verdict = WordGate().decide(evidence, STEP)
    assert (verdict.accepted, verdict.score) == (accepted, float(accepted))
    assert verdict.unanswered is (text == "missing")
    assert verdict.score_text == f"verdict word (weak) {text}"


def test_an_answer_without_a_verdict_is_quoted_in_the_reason() -> None:
    evidence = Evidence(0.0, 0.0, top_label=False, answer="I think")
    assert "'I think'" in WordGate().decide(evidence, STEP).reason


def test_a_cut_step_is_never_accepted() -> None:
    assert not WordGate().decide(Evidence(1.0, 0.0, top_label=True), CUT).accepted


def test_a_word_needs_no_probabilities() -> None:
    assert WordGate().needs == {"verdicts in words"}
