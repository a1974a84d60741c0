"""A thinking budget of 0 begins the turn after a thought that is closed."""

from __future__ import annotations

import pytest

from dreamr import RunOptions
from dreamr._families import recognize
from dreamr._sampling import PLAIN, closed_thoughts
from dreamr.engines import Model, ScriptedEngine
from dreamr.steps import StepFormat

OPENED, OWN = "\n</think>\n\n", "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("name", "opens", "lead"),
    [
        ("Qwen3-VL-32B-Thinking", True, OPENED),
        ("Qwen3-8B", False, OWN),
        ("Qwen3-VL-32B-Instruct", False, None),
        ("unknown", True, OPENED),
        ("unknown", False, None),
    ],
)
def test_a_model_gets_the_closed_thought_that_its_template_would_write(
    name: str, opens: bool, lead: str | None
) -> None:
    model = Model(ScriptedEngine(), StepFormat(opens_thought=opens), family=recognize(name))
    found = closed_thoughts(RunOptions(thinking_budget=0), {"target": model}, PLAIN)
    assert found == (() if lead is None else (("target", lead),))


def test_other_budgets_leave_the_turn_as_it_is() -> None:
    model = Model(ScriptedEngine(), StepFormat(opens_thought=True))
    for budget in (None, 1, 1024):
        options = RunOptions(thinking_budget=budget)
        assert closed_thoughts(options, {"target": model}, PLAIN) == ()


def test_a_model_whose_thinking_is_switched_off_gets_none() -> None:
    model = Model(
        ScriptedEngine(),
        StepFormat(),
        family=recognize("Qwen3-8B"),
        thinks_about=lambda conversation: False,
    )
    assert closed_thoughts(RunOptions(thinking_budget=0), {"target": model}, PLAIN) == ()
