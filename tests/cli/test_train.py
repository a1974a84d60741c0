"""The commands of `dreamr train`; trainings themselves are tested in tests/training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamr.cli import main
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.training import Records
from support.pairs import Pair

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

FEW = (
    "--task docmath --problems 2 --steps 2 --batch 4 --group 2 --max-tokens 16 --graders 1 "
    "--temperature 2 --draft embedded-before-sapo"
)


async def moody(source: ModelSource) -> Model:
    """A target whose opinion differs from step to step."""
    return Model(ScriptedEngine(script="Answer: 1", opinion=lambda _, text: len(text) % 7 / 6))


def train(*argv: str, **options: Any) -> int:
    return main(["train", *argv], **options)


def test_a_training_prints_the_folder_of_its_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    argv = ["sapo", *FEW.split(), "--counting", "soft", "--no-guards", "--out", out]
    assert train(*argv, open_model=moody) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}/draft\n"
    assert said.err.splitlines()[-1].startswith("2 of 2 steps, last: reward")
    assert train(*argv, open_model=moody) == 0  # it is done already
    assert capsys.readouterr().out == f"{out}/draft\n"


def test_records_become_a_draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records, out = tmp_path / "records.jsonl", tmp_path / "out"
    argv = ["record", "--task", "docmath", "--problems", "3", "--method", "sequential"]
    assert train(*argv, "--out", str(records), open_model=Pair()) == 0
    assert len(Records([records])) == 3
    assert "3 of 3 problems" in capsys.readouterr().err
    text = records.read_text()
    records.write_text(text.replace('"right": false', '"right": true'))
    assert train("from-traces", str(records), "--method", "dpo", "--out", str(out)) == 0
    assert capsys.readouterr().out == f"{out}/draft\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--weights", "1:2"], "--weights '1:2' cannot be parsed: write 1:1:1"),
        (["--weights", "draft=1,draft=2"], "names a term twice: give each one weight"),
        (["--weights", "beauty=1"], "unknown reward term 'beauty': choose from outcome, draft"),
        (["--batch", "5"], "--batch must be a multiple of --group: 5 is not one of 2"),
        (["--task", "chess"], "no task 'chess'"),
        (["--task", "vqa,vqa"], "must name at least one task, and each only once"),
        (["--plugin", "no_such_module"], "plugin 'no_such_module' cannot be imported"),
        (["--draft", "/nowhere"], "/nowhere is not a local folder"),
        (["--config", "/nowhere.yaml"], "cannot read configuration /nowhere.yaml"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("sapo", *FEW.split(), *argv, "--out", str(tmp_path / "out"), open_model=moody) > 0
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_records_that_teach_nothing_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.jsonl").write_text("")
    argv = ["from-traces", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "out")]
    assert train(*argv) == 1
    assert "none of 0 records holds a complete run" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["measure"], ["record"], ["sapo", *FEW.split()]])
def test_a_task_without_problems_is_refused_before_models_are_opened(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[ModelSource] = []

    async def open_model(source: ModelSource) -> Model:
        opened.append(source)
        return await moody(source)

    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    given = ["--task", f"docmath,{empty}", "--problems", "2", "--out", str(tmp_path / "out")]
    assert train(*argv, *given, open_model=open_model) == 1
    said = capsys.readouterr().err
    assert said == f"dreamr: {empty} has no problems: name a task that has some\n"
    assert not opened


def test_measuring_shows_a_table_and_keeps_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    argv = ["measure", "--task", "docmath", "--limit", "2", "--out", str(out)]
    assert train(*argv, open_model=Pair()) == 0
    said = capsys.readouterr()
    assert "acceptance" in said.out
    assert "2 of 2 problems, last: docmath" in said.err
    assert json.loads(out.read_text())["figures"]["docmath"]["problems"] == 2


def test_the_table_of_a_measurement_shows_large_numbers_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sums.jsonl"
    row = {"question": "What is 2 + 3?", "answer": "5", "attachments": None}
    file.write_text(f"{json.dumps(row)}\n" * 1234)
    argv = ["measure", "--task", str(file), "--problems", "1234"]
    assert train(*argv, open_model=Pair()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["problems", "1234"] in rows
    assert ["acceptance", "0.5"] in rows
