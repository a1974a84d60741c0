"""The examples run on the test bed, as their docstrings say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dreamr_testbed import RECEIPT

from support.listening import listening
from support.scripts import run_script

EXAMPLES = Path(__file__).parents[1] / "examples"
Run = Callable[..., str]
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(script: Path, *arguments: str) -> str:
        run_script(script, *arguments, folder=folder)
        return capsys.readouterr().out

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "receipt.png").write_bytes(RECEIPT.read_bytes())
    return tmp_path


def test_a_run_prints_its_answer_and_its_steps(folder: Path, run: Run) -> None:
    printed = run(EXAMPLES / "run.py")
    assert "Answer: 28" in printed
    assert "+ Line 2: tea 3 x 4 = 12." in printed


def test_a_custom_gate_decides(folder: Path, run: Run) -> None:
    printed = run(EXAMPLES / "custom_gate.py")
    assert "draft  needed 0.60  Needed: tea and milk." in printed
    assert "draft  needed 0.95  Line 2: tea" in printed


def test_a_calibrated_profile_is_used(folder: Path, run: Run) -> None:
    printed = run(EXAMPLES / "calibrate_gate.py", "receipt.png", "25")
    assert "Answer: 28" in printed
    assert json.loads((folder / "profile.json").read_text())["gate"]


def test_the_openai_client_streams_reasoning_and_answer(folder: Path, run: Run) -> None:
    with listening() as address:
        printed = run(EXAMPLES / "openai_client.py", "receipt.png", f"{address}/v1")
    assert "Tea costs 2.50." in printed
    assert printed.endswith("3.70\n")


def test_the_notebook_draws_a_timeline(folder: Path, run: Run) -> None:
    notebook = json.loads((EXAMPLES / "timeline.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    (folder / "notebook.py").write_text("\n\n".join(cells), encoding="utf-8")
    run(folder / "notebook.py")
    assert "<html" in (folder / "timeline.html").read_text(encoding="utf-8")
