from __future__ import annotations

from typing import Any

import anyio
import pytest

from dreamr.engines import Capabilities, Context, Failure, Model, ScriptedEngine
from dreamr.errors import EngineLost
from dreamr.gate import Evidence
from dreamr.serving.doctor import CHECKS, Finding, ModelUnderTest, pair_checks, run_checks

SCRIPT = "Tea costs 12.\n\nMilk costs 16.\n\nAnswer: 28"
LOST = Failure(EngineLost("gone"))


def found(engine: ScriptedEngine, role: Any = "target") -> dict[str, Finding]:
    async def main() -> list[Finding]:
        return [one async for one in run_checks(ModelUnderTest(role, Model(engine)))]

    return {one.about: one for one in anyio.run(main)}


def knows(context: Context, step: str) -> Evidence:
    return Evidence(0.9, 0.1) if step in SCRIPT else Evidence(0.1, 0.9)


def test_a_good_model_passes_all_checks() -> None:
    target = found(ScriptedEngine(script=SCRIPT, opinion=knows))
    assert list(target) == list(CHECKS)
    assert {one.state for one in target.values()} == {"ok"}
    assert "judge ratio 0.90 for the model's own step" in target["judging"].what
    assert "0.10 for the same step with other numbers" in target["judging"].what


def test_a_draft_is_not_asked_to_judge() -> None:
    engine = ScriptedEngine(script=SCRIPT)
    assert "judging" not in found(engine, "draft")
    assert engine.judgments == 0


@pytest.mark.parametrize(
    ("about", "state", "fix", "engine"),
    [
        ("judging", "wrong", "--judge-prompt", {"opinion": lambda c, s: Evidence(0.1, 0.1)}),
        ("judging", "degraded", "larger target", {"opinion": 0.9}),
        ("judging", "wrong", "--method target", {"capabilities": Capabilities(judge=False)}),
        ("steps", "degraded", "blank lines", {"script": "It is 28 then"}),
        ("steps", "degraded", "--answer-marker", {"script": "It is 28.\n\nSo be it"}),
        ("images", "wrong", None, {"stream_failures": dict.fromkeys(range(9), LOST)}),
    ],
)
def test_a_problem_is_reported_with_its_fix(
    about: str, state: str, fix: str | None, engine: dict[str, Any]
) -> None:
    one = found(ScriptedEngine(**{"script": SCRIPT, "opinion": knows, **engine}))[about]
    assert one.state == state
    assert (one.fix is None) if fix is None else fix in (one.fix or "")


def test_a_different_continuation_is_degraded() -> None:
    def script(context: Context) -> str:
        return "Something else" if context.prefix else SCRIPT

    one = found(ScriptedEngine(script=script, opinion=knows))["continuation"]
    assert one.state == "degraded"


def test_a_draft_as_slow_as_the_target_is_degraded() -> None:
    engine = Model(ScriptedEngine())
    target, draft = (
        ModelUnderTest("target", engine, seconds=0.01),
        ModelUnderTest("draft", engine, seconds=0.001),
    )
    assert pair_checks(target, draft).state == "ok"
    assert "0.10" in pair_checks(target, draft).what
    assert pair_checks(target, target).state == "degraded"
    assert pair_checks(target, ModelUnderTest("draft", engine)).state == "unknown"


def test_the_image_of_the_checks_is_reproducible() -> None:
    first, second = (ModelUnderTest("target", Model(ScriptedEngine())).talk for _ in range(2))
    assert len(first.images) == 1
    assert first == second
