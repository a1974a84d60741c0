"""`dreamr bench`, over scripted models."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from shutil import copytree

import pytest

from dreamr.cli import main
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.evaluation.tasks import Items, load, registry

OWN = "Needed: this.\n\nSo it is.\n\nAnswer: 1"
SMALL = ["--task", "vqa", "--method", "target", "--method", "fpsr", "--limit", "2"]


async def scripted(source: ModelSource) -> Model:
    return Model(ScriptedEngine(script=OWN, name=source.role))


def bench(out: Path, *more: str) -> int:
    return main(["bench", "run", *SMALL, "--out", str(out), *more], open_model=scripted)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a bench, and what was said on standard error."""
    out, said = tmp_path_factory.mktemp("bench"), io.StringIO()
    with redirect_stderr(said):
        assert bench(out) == 0
    return out, said.getvalue()


@pytest.fixture
def folder(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the folder."""
    return Path(copytree(finished[0], tmp_path / "bench"))


def test_a_bench_leaves_samples_configuration_and_where_it_comes_from(folder: Path) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert "limit: 2" in (folder / "config.yaml").read_text()
    (session,) = json.loads((folder / "provenance.json").read_text())
    assert session["commit"]
    assert session["processor"]
    assert session["finished"] >= session["started"]
    assert session["memory_mb"] > 0
    assert session["models"]["target"]["weights"] != session["models"]["draft"]["weights"]
    assert (folder / "report.html").exists()
    assert json.loads((folder / "results.json").read_text())


def test_reports_are_rebuilt_and_benches_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "report.html").unlink()
    assert main(["bench", "report", str(folder)]) == 0
    assert (folder / "report.html").exists()
    assert main(["bench", "compare", str(folder), str(folder)]) == 0
    assert "fpsr" in capsys.readouterr().out
    assert main(["bench", "compare", str(folder / "none")]) == 1
    assert "not the folder of a bench" in capsys.readouterr().err


def test_a_bench_of_one_model_records_no_other(tmp_path: Path) -> None:
    small = ["--task", "docmath", "--limit", "1", "--method", "target", "--out"]
    assert main(["bench", "run", *small, str(tmp_path / "b")], open_model=scripted) == 0
    (session,) = json.loads((tmp_path / "b" / "provenance.json").read_text())
    assert list(session["models"]) == ["target"]


def test_each_session_adds_to_where_the_samples_come_from(folder: Path) -> None:
    assert bench(folder) == 0, "nothing is left to do, and nothing is done"
    assert bench(folder, "--limit", "3") == 0
    assert len(json.loads((folder / "provenance.json").read_text())) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--method", "magic"], "unknown method 'magic'; known: target, draft, token-sd"),
        (["--task", "chess"], "no task 'chess'; known: docmath, story, vqa"),
        (["--concurrency", "many"], "is not a list of numbers"),
        (["--source", "vqa"], "must be TASK=PATH"),
        (["--limit", "0"], "at least 1"),
        (["--threshold", "2"], "--threshold must be at most 1, not 2"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    wrong: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path / "out", *wrong) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out" / "samples.jsonl").exists()


def test_a_task_that_the_pair_was_not_trained_on_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Items(range(3), load("vqa", limit=3).__getitem__, levels=(1, 2, 3))
    monkeypatch.setattr(registry, "_ADDED", {"boxes": lambda limit, seed, split: drawn})
    out = tmp_path / "out"
    assert bench(out, "--task", "boxes") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the target was not trained on boxes" in line
    assert "set --untrained to run it anyway" in line
    assert not out.exists()
    small = ["--task", "boxes", "--limit", "1", "--method", "target", "--untrained", "--out"]
    assert main(["bench", "run", *small, str(out)], open_model=scripted) == 0
    assert (out / "samples.jsonl").exists()


def test_a_bench_that_cannot_run_leaves_no_folder_in_the_way_of_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "profile.json"
    broken.write_text("{")
    assert bench(tmp_path / "b", "--method", "fpsr-profile", "--profile", str(broken)) == 2
    assert "profile.json, line 1, column 2: not valid JSON" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_progress_is_said_in_plain_lines_where_there_is_no_terminal(
    finished: tuple[Path, str],
) -> None:
    assert "4 of 4 samples" in finished[1]
