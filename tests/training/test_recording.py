"""Recordings of runs: which problems are run, and with which method."""

from __future__ import annotations

from pathlib import Path

import anyio

from dreamr import RunOptions
from dreamr.engines import Model, ModelSource, OpenModel, ScriptedEngine
from dreamr.evaluation.tasks import load
from dreamr.training import Problems, Record, Records
from dreamr.training.recording import record

OWN = "Needed: this.\n\nSo it is.\n\nAnswer: 1"


def recorded(out: Path, problems: Problems, open_model: OpenModel) -> list[Record]:
    async def work() -> None:
        with anyio.fail_after(60):
            await record(problems, out, RunOptions(), open_model=open_model)

    anyio.run(work)
    return list(Records([out]))


async def with_a_slow_draft(source: ModelSource) -> Model:
    seconds = 0.002 if source.role == "draft" else 0.0
    return Model(ScriptedEngine(script=OWN, name=source.role, token_seconds=seconds))


def test_concurrent_runs_are_of_the_recorded_method(tmp_path: Path) -> None:
    problems = Problems({"vqa": load("vqa", limit=32, split="train")})
    found = recorded(tmp_path / "records.jsonl", problems, with_a_slow_draft)
    assert [one.method for one in found] == ["fpsr"] * 32
    assert recorded(tmp_path / "records.jsonl", problems, with_a_slow_draft) == found
