"""The examples run on the test bed, as their docstrings say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dreamr_testbed import RECEIPT

from support.listening import listening

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "MPLBACKEND": "agg"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "receipt.png").write_bytes(RECEIPT.read_bytes())
    return tmp_path


def test_a_run_prints_its_answer_and_its_steps(folder: Path) -> None:
    printed = run(folder, str(EXAMPLES / "run.py"))
    assert "Answer: 28" in printed
    assert "+ Line 2: tea 3 x 4 = 12." in printed


def test_a_custom_gate_decides(folder: Path) -> None:
    printed = run(folder, str(EXAMPLES / "custom_gate.py"))
    assert "draft  needed 0.60  Needed: tea and milk." in printed
    assert "draft  needed 0.95  Line 2: tea" in printed


def test_a_calibrated_profile_is_used(folder: Path) -> None:
    printed = run(folder, str(EXAMPLES / "calibrate_gate.py"), "receipt.png", "25")
    assert "Answer: 28" in printed
    assert json.loads((folder / "profile.json").read_text())["gate"]


def test_the_openai_client_streams_reasoning_and_answer(folder: Path) -> None:
    with listening() as address:
        printed = run(folder, str(EXAMPLES / "openai_client.py"), "receipt.png", f"{address}/v1")
    assert "Tea costs 2.50." in printed
    assert printed.endswith("3.70\n")


def test_the_notebook_draws_a_timeline(folder: Path) -> None:
    notebook = json.loads((EXAMPLES / "timeline.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    (folder / "notebook.py").write_text("\n\n".join(cells), encoding="utf-8")
    run(folder, "notebook.py")
    assert "<html" in (folder / "timeline.html").read_text(encoding="utf-8")
