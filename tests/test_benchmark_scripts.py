"""The scripts under benchmarks/ run; what they measure is not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dreamr_testbed import PAIR

ROOT = Path(__file__).parents[1]
DRAFT = str(PAIR / "draft")


@pytest.mark.parametrize(
    "command",
    [
        ["decode.py", "--model", DRAFT, "--rounds", "1", "--cpu-time"],
        ["concurrency.py", "--model", DRAFT, "--rounds", "1"],
        ["overhead.py", "--repeats", "1", "--steps", "5"],
        ["ablations.py", "--task=vqa", "--steps=1", "--batch=8", "--limit=1", "--only", "1:2:1"],
        ["drift.py", "--usual=1", "--shifted=1"],
        ["tuning.py", "--requests=1"],
        ["texts.py", "--limit=1"],
    ],
    ids=lambda command: command[0],
)
def test_a_benchmark_writes_its_figures(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    script, *flags = command
    subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *flags, "--out", out],
        check=True,
        capture_output=True,
        timeout=300,
    )
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures.pop("provenance")
    assert figures
