"""Samples under the name of a method are runs of that method."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from dreamr import RunOptions
from dreamr.conversation import Conversation
from dreamr.engines import Chunk, Context, Model, ModelSource, SamplingParams, ScriptedEngine
from dreamr.evaluation.bench import PRESETS, BenchOptions, Plan, read_config, schedule_options
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


class Resampled:
    """Opens models with a draft whose steps are rejected, and keeps the temperatures it got."""

    def __init__(self) -> None:
        self.temperatures: set[float] = set()

    async def __call__(self, source: ModelSource) -> Model:
        if source.role == "target":
            return Model(ScriptedEngine(script=OWN, opinion=0.0, token_seconds=0.02))
        return Model(_Draft(self))


class _Draft(ScriptedEngine):
    def __init__(self, models: Resampled) -> None:
        super().__init__(script="Wrong.\n\nStill so.\n\nAnswer: 2")
        self._models = models

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        self._models.temperatures.add(sampling.temperature)
        async for chunk in super().stream(context, sampling):
            yield chunk


def served(tmp_path: Path, **options: Any) -> tuple[bool, int]:
    """Run a bench with a served target.

    Returns:
        Whether the draft wrote other candidates, and the number that a replay would allow.
    """
    models = Resampled()
    chosen = BenchOptions(task=("vqa",), method=("fpsr",), limit=4)
    run_plan(tmp_path, chosen.plan(RunOptions(target="http://localhost:1", **options)), models)
    stored = schedule_options(read_config(tmp_path) or {})
    return max(models.temperatures) > 0, PRESETS["fpsr"].replayed(stored).options.resamples


def test_a_served_bench_resamples_as_its_replay(tmp_path: Path) -> None:
    assert served(tmp_path / "a") == (False, 0)
    assert served(tmp_path / "b", resamples=2) == (True, 2)
