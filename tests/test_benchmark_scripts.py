"""The scripts under benchmarks/ run; what they measure is not looked at here."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import typer
from dreamr_testbed import PAIR
from dreamr_testbed.suites import load_docmath

from dreamr import Conversation, Reasoner, RunOptions
from dreamr.cli.app import build_app
from dreamr.engines import Context, Model, ModelSource, ScriptedEngine
from support.scripts import run_script

ROOT = Path(__file__).parents[1]
DRAFT = str(PAIR / "draft")
WITH_PROCESSES = ("ablations.py", "tuning.py", "soak.py")  # a fork of this process is none


@pytest.mark.parametrize(
    "command",
    [
        ["decode.py", "--model", DRAFT, "--rounds", "1", "--cpu-time"],
        ["dtype.py", "speed", "--rounds=1"],
        ["dtype.py", "paired", "--limit=1"],
        ["concurrency.py", "--model", DRAFT, "--rounds", "1"],
        ["overhead.py", "--repeats", "1", "--steps", "5"],
        ["ablations.py", "--task=vqa", "--limit=1", "--only"],  # the trainings: see below
        ["drift.py", "--usual=1", "--shifted=1"],
        ["tuning.py", "--requests=1"],
        ["texts.py", "--limit=1"],
        ["media_tokens.py"],
        ["suites.py", "--limit=2"],
        pytest.param(["soak.py", "--minutes=0.05", "--clients=1"], marks=pytest.mark.slow),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.filterwarnings("default")
def test_a_benchmark_writes_its_figures(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    script, *flags = command
    path = ROOT / "benchmarks" / script
    if script in WITH_PROCESSES:
        line = [sys.executable, path, *flags, "--out", out]
        subprocess.run(line, check=True, capture_output=True, timeout=300)
    else:
        run_script(path, *flags, "--out", out)
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures.pop("provenance")
    assert figures


VARIANTS = runpy.run_path(str(ROOT / "benchmarks" / "ablations.py"))["VARIANTS"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_dreamr_train_accepts_the_flags_of_each_ablation(variant: Any, tmp_path: Path) -> None:
    train = cast("Any", typer.main.get_command(build_app())).commands["train"]
    command = train.commands["from-traces" if variant.records else "sapo"]
    records = [str(tmp_path)] if variant.records else []
    command.make_context(command.name, [*records, "--out", str(tmp_path), *variant.flags])


def test_placements_take_turns_at_being_first_and_find_no_prompt_cached() -> None:
    done: list[tuple[str, str]] = []

    def reasoner(name: str) -> Reasoner:
        class Watched(ScriptedEngine):
            def forget(self, conversation: Conversation) -> None:
                done.append((name, "forgets"))

        def script(context: Context) -> str:
            done.append((name, "answers"))
            return "Answer: 1"

        async def opened(source: ModelSource) -> Model:
            return Model(Watched(script=script))

        return Reasoner(RunOptions(method="target"), open_model=opened)

    async def work() -> None:
        async with reasoner("a") as one, reasoner("b") as other:
            await answer_all({"a": one, "b": other}, load_docmath(3, 0, "test"), 2)

    answer_all = runpy.run_path(str(ROOT / "benchmarks" / "placement.py"))["answer_all"]
    anyio.run(work)
    assert done == [(name, act) for name in "aabbba" for act in ("forgets", "answers")]


@pytest.mark.parametrize(("bytes_a_body", "is_good"), [(100, True), (5_000, False)])
def test_memory_that_grows_with_the_bodies_is_a_fault(bytes_a_body: int, is_good: bool) -> None:
    judge = runpy.run_path(str(ROOT / "benchmarks" / "api_fuzz.py"))["is_good"]
    grown = bytes_a_body * 5_000
    found = {"bodies": 10_000, "fault_count": 0, "open_streams": 0}
    assert judge("/v1/messages", {**found, "grown_bytes_in_second_half": grown}) == is_good
