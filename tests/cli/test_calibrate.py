from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamr.cli import main
from dreamr.errors import EngineLost
from support.pairs import Pair


@pytest.mark.slow
def test_a_profile_of_the_bundled_pair_states_its_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "story.json"
    command = ["calibrate", "--task", "story", "--problems", "9", "--risk", "0.2"]
    assert main([*command, "--out", str(out)]) == 0
    printed, shown = capsys.readouterr()
    assert printed.strip() == str(out)
    assert "chosen" in shown
    values = json.loads(out.read_text())
    assert values["gate"]["kind"] == "ratio"
    assert values["measured"]["upper"] <= 0.2
    assert values["data"]["steps"] > 30


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--risk", "0"], "risk"),
        (["--confidence", "1"], "confidence"),
        (["--gate", "x"], "gate"),
        (["--reference", "target"], "--by answers"),
        (["--by", "answers", "--gate", "learned"], "--by steps"),
        (["--by", "words"], "words"),
    ],
)
def test_invalid_options_are_refused(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--out", str(tmp_path / "p"), *flags], open_model=Pair()) == 2
    assert said in capsys.readouterr().err


def test_a_task_that_cannot_check_steps_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = Path(__file__).parents[2] / "examples" / "timesheet.py"
    command = ["calibrate", "--plugin", str(plugin), "--task", "timesheet", "--problems", "2"]
    assert main([*command, "--out", str(tmp_path / "p")], open_model=Pair()) == 1
    assert "checks answers but not steps" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["folder", "file/p.json"])
def test_a_profile_that_cannot_be_written_is_refused_before_the_models_are_opened(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    pair, out = Pair(), tmp_path / name
    command = ["calibrate", "--task", "story", "--problems", "2", "--out", str(out)]
    assert main(command, open_model=pair) == 1
    assert f"cannot write {out}: " in capsys.readouterr().err
    assert not pair.opened


def test_a_profile_is_kept_if_a_calibration_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.json"
    out.write_text("before")
    lost = Pair(errors={"target": EngineLost("the worker is gone")})
    command = ["calibrate", "--task", "story", "--problems", "2", "--out", str(out)]
    assert main(command, open_model=lost) == 1
    assert "the worker is gone" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("p.json", "before")]


def test_a_calibration_by_answers_needs_no_labels_and_no_checker_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = Path(__file__).parents[2] / "examples" / "timesheet.py"
    out = tmp_path / "timesheet.json"
    command = ["calibrate", "--plugin", str(plugin), "--task", "timesheet", "--problems", "20"]
    command += ["--by", "answers", "--reference", "target", "--final-answer", "draft"]
    # Both models always write the same, so each answer is that of the target alone.
    assert main([*command, "--risk", "0.2", "--out", str(out)], open_model=Pair()) == 0
    assert "180 of 180 runs, last: threshold 0.3" in capsys.readouterr().err
    values = json.loads(out.read_text())
    assert (values["bounds"], values["reference"]) == ("answers", "target")
    assert values["gate"] == {"kind": "ratio", "threshold": 0.3, "min_mass": 0.01}
    assert values["options"] == {"method": "fpsr", "final_answer": "draft", "temperature": 0.0}
    assert values["data"]["window"] == 8
    none = tmp_path / "none.json"  # the bound is too small for 20 problems
    assert main([*command, "--risk", "0.01", "--out", str(none)], open_model=Pair()) == 1
    refused = capsys.readouterr().err
    assert "0 errors in 20 problems" in refused
    assert "--problems" in refused
    assert not none.exists()
