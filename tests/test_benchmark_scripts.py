"""The scripts under benchmarks/ run; what they measure is not looked at here."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from dreamr_testbed import PAIR

from dreamr.cli.app import build_app
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
