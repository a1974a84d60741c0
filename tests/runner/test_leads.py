"""Models that are not to think begin their turn after a thought that is closed."""

from __future__ import annotations

from typing import Any

import pytest

from dreamr.engines import Context
from dreamr.steps import StepFormat
from support.runs import draft, go, target, texts

CLOSED = "\n</think>\n\n"
STEPS = ("Tea is 2.\n\n", "Milk is 1.\n\n", "Answer: 3")
LEADS = (("target", CLOSED), ("draft", f"<think>\n{CLOSED}"))


def after(lead: str) -> Any:
    """A script that is written after a lead only."""

    def write(context: Context) -> str:
        prefix = "".join(context.prefix)
        assert prefix.startswith(lead)
        whole = "".join(STEPS)
        return whole[len(prefix) - len(lead) :]

    return write


@pytest.mark.parametrize("method", ["fpsr", "sequential", "target"])
def test_every_prefix_begins_with_the_closed_thought_of_its_model(method: str) -> None:
    seen: list[str] = []

    def opinion(context: Context, step: str) -> float:
        seen.append("".join(context.prefix))
        return 1.0

    result = go(
        target(script=after(CLOSED), opinion=opinion),
        draft(script=after(f"<think>\n{CLOSED}")),
        method,
        leads=LEADS,
        step_format=StepFormat(opens_thought=True),
    )
    assert texts(result) == list(STEPS)
    assert result.answer == "3"
    assert all(prefix.startswith(CLOSED) for prefix in seen)
