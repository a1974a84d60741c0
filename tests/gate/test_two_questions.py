from __future__ import annotations

from dataclasses import replace

import pytest

from dreamr.gate import Evidence, StepContext, TwoQuestionsGate
from dreamr.steps import Ending, Step

STEP = StepContext(Step("Tea costs 12.\n\n", 5, Ending.DELIMITER), 0)
YES, NO, SILENT = Evidence(0.95, 0.05), Evidence(0.4, 0.6), Evidence(0.001, 0.0)


@pytest.mark.parametrize(
    ("seen", "follows", "accepted", "score"),
    [(YES, YES, True, 0.95), (YES, NO, False, 0.4), (NO, YES, False, 0.4)],
)
def test_the_lower_ratio_decides(
    seen: Evidence, follows: Evidence, accepted: bool, score: float
) -> None:
    verdict = TwoQuestionsGate().decide(seen, replace(STEP, further=(follows,)))
    assert (verdict.accepted, verdict.score) == (accepted, pytest.approx(score))


@pytest.mark.parametrize("answers", [(YES, SILENT), (SILENT, YES), (NO, SILENT)])
def test_a_missing_answer_rejects_the_step(answers: tuple[Evidence, Evidence]) -> None:
    verdict = TwoQuestionsGate().decide(answers[0], replace(STEP, further=(answers[1],)))
    assert not verdict.accepted
    assert verdict.unanswered


def test_the_questions_are_about_what_is_seen_and_what_follows() -> None:
    gate = TwoQuestionsGate()
    assert [query.kind for query in (gate.query, *gate.further_queries)] == ["seen", "follows"]
