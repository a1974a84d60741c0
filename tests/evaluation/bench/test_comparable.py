"""Samples under the name of a method are runs of that method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.engines import Context, Model, ModelSource, ScriptedEngine
from dreamr.evaluation.bench import BenchOptions, Plan, read_config
from dreamr.evaluation.report import write_report
from support.benches import OWN, run_plan


class SlowDraft:
    """Opens models with a draft that never helps, and keeps the problems that it was asked."""

    def __init__(self) -> None:
        self.asked: dict[int, Conversation] = {}

    async def __call__(self, source: ModelSource) -> Model:
        if source.role == "target":
            return Model(ScriptedEngine(script=OWN, name="target"))
        return Model(ScriptedEngine(script=self.answer, name="draft", token_seconds=0.002))

    def answer(self, context: Context) -> str:
        self.asked[id(context.conversation)] = context.conversation
        return OWN if not context.prefix else ""


def concurrent(**options: Any) -> Plan:
    """Return a bench of fpsr with four problems at a time."""
    chosen = BenchOptions(task=("vqa",), method=("fpsr",), limit=32, concurrency="4", **options)
    return chosen.plan(RunOptions())


def test_a_method_keeps_its_draft_beside_other_runs(tmp_path: Path) -> None:
    models = SlowDraft()
    found = run_plan(tmp_path, concurrent(), models)
    assert len(models.asked) == len(found) == 32
    config = read_config(tmp_path)
    assert config is not None
    assert config["options"]["load_aware"] is False


def test_a_bench_follows_the_load_on_request(tmp_path: Path) -> None:
    models = SlowDraft()
    found = run_plan(tmp_path, concurrent(load_aware=True), models)
    assert len(models.asked) < len(found) == 32
    assert "--load-aware: runs beside others may" in write_report(tmp_path).read_text("utf-8")
