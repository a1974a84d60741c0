from __future__ import annotations

import anyio
import pytest

from dreamr.engines import Model, ScriptedEngine
from dreamr.evaluation.tasks import load
from dreamr.training import Grader, measure

SCRIPT = ("Tea costs 2.\n\n", "Milk costs 3.\n\n", "Answer: 5")


def test_measure_returns_the_acceptance_of_the_drafts_own_solutions() -> None:
    target = ScriptedEngine(script="unused", opinion={SCRIPT[0]: 0.9})
    draft = ScriptedEngine(script=SCRIPT)
    tasks = {name: load(name, limit=3) for name in ("docmath", "vqa")}
    seen: list[tuple[int, str]] = []

    async def work() -> dict[str, dict[str, float]]:
        grader = Grader([target], references=False)
        return await measure(
            tasks, Model(draft), grader, on_done=lambda done, name: seen.append((done, name))
        )

    found = anyio.run(work)
    assert list(found) == ["docmath", "vqa", "mean"]
    assert found["mean"]["problems"] == 3
    assert found["mean"]["acceptance"] == pytest.approx(0.5)
    assert found["mean"]["clean"] == 0.0
    assert found["mean"]["steps"] == 2
    assert found["mean"]["finished"] == 1.0
    assert target.streams == 0
    assert seen == [(3, "docmath"), (6, "vqa")]
