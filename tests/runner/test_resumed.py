"""A run continues the committed steps of an interrupted one, as if it had committed them itself."""

from __future__ import annotations

import pytest

from dreamr.schedules import METHODS, ScheduleConfig
from dreamr.trace import StepCommitted
from support.runs import draft, go, target, texts

STEPS = (*(f"Step {number} is done.\n\n" for number in range(6)), "Answer: 3")
TEXT = "".join(STEPS)
OPINION = {step: float(number != 2) for number, step in enumerate(STEPS)}


@pytest.mark.parametrize("count", [0, 1, 3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_ends_with_the_same_text_wherever_it_was_interrupted(method: str, count: int) -> None:
    first = go(target(script=TEXT, opinion=OPINION), draft(script=TEXT), method)
    kept = first.steps[: min(count, len(first.steps) - 1)]
    found = go(target(script=TEXT, opinion=OPINION), draft(script=TEXT), method, committed=kept)
    assert "".join(texts(found)) == "".join(texts(first)) == TEXT
    assert (found.answer, found.finish) == (first.answer, first.finish)
    assert found.steps[: len(kept)] == kept
    positions = [one.position for one in found.events if isinstance(one, StepCommitted)]
    assert positions == list(range(len(found.steps)))


@pytest.mark.parametrize("method", ["fpsr", "target"])
def test_continued_steps_count_once(method: str) -> None:
    first = go(target(script=TEXT, opinion=1.0), draft(script=TEXT), method)
    found = go(
        target(script=TEXT, opinion=1.0), draft(script=TEXT), method, committed=first.steps[:4]
    )
    used = (found.usage.draft, found.usage.target)
    assert sum(one.accepted + one.kept for one in used) == sum(s.step.tokens for s in found.steps)
    assert all(one.canceled >= 0 for one in used)


def test_continued_tokens_count_for_the_limit() -> None:
    first = go(target(script=TEXT), draft(script=TEXT), "target")
    found = go(
        target(script=TEXT),
        draft(script=TEXT),
        "target",
        committed=first.steps[:3],
        options=ScheduleConfig(max_steps=4),
    )
    assert (len(found.steps), found.finish) == (4, "length")
