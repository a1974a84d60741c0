"""Benches of scripted models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from dreamr.engines import Capabilities, Model, ModelSource, OpenModel, ScriptedEngine
from dreamr.evaluation.bench import Folder, Plan, Progress, Sample, run_bench

OWN = "Needed: this.\n\nSo it is.\n\nAnswer: 1"


class ScriptedModels:
    """Opens scripted models and keeps them; `values[n]` configures the nth target."""

    def __init__(self, *values: dict[str, Any]) -> None:
        self.values = values
        self.engines: list[ScriptedEngine] = []

    async def __call__(self, source: ModelSource) -> Model:
        number = sum(engine.name == source.role for engine in self.engines)
        more = self.values[number] if source.role == "target" and number < len(self.values) else {}
        usual: dict[str, Any] = {"script": OWN, "name": source.role}
        usual["token_probability"] = lambda _: 0.99
        usual["capabilities"] = Capabilities(logprobs=True, entropy=True)
        engine = ScriptedEngine(**{**usual, **more})
        self.engines.append(engine)
        return Model(engine)


def run_plan(
    path: Path,
    plan: Plan,
    open_model: OpenModel | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    warm_up: int = 0,
) -> list[Sample]:
    """Run a plan in a folder, and return all samples of the folder."""

    async def main() -> None:
        with anyio.fail_after(60), Folder(path, plan) as folder:
            folder.begin_session({"started": "now"})
            await run_bench(
                plan,
                folder,
                open_model=open_model or ScriptedModels(),
                warm_up=warm_up,
                on_progress=on_progress,
            )

    anyio.run(main)
    return samples(path)


def samples(path: Path) -> list[Sample]:
    lines = (path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [Sample.from_json(json.loads(line)) for line in lines]
