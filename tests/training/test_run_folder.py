from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamr.conversation import read_image
from dreamr.errors import Unwritable
from dreamr.training import BadTraining, draw_curves
from dreamr.training.folder import Log, RunFolder

CONFIG = {"draft": "a", "steps": 10}


def checkpoint(folder: RunFolder, step: int, state: str = '{"a": 1}') -> Path:
    path = folder.checkpoints / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(state)
    return path


def test_a_training_finds_its_checkpoints_and_its_model(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", CONFIG)
    assert not folder.done
    assert folder.last_checkpoint() is None
    whole = checkpoint(folder, 5)
    again = RunFolder(tmp_path / "out", CONFIG)
    assert again.last_checkpoint() == whole
    folder.model.mkdir()
    assert again.done


def test_the_folder_of_another_training_is_refused_and_differences_are_named(
    tmp_path: Path,
) -> None:
    checkpoint(RunFolder(tmp_path / "out", CONFIG), 5)
    with pytest.raises(BadTraining, match=r"another configuration \(changed: steps; see its"):
        RunFolder(tmp_path / "out", {**CONFIG, "steps": 20})


def test_a_folder_without_a_checkpoint_can_be_taken_over(tmp_path: Path) -> None:
    for steps in (10, 20, 10):
        folder = RunFolder(tmp_path / "out", {**CONFIG, "steps": steps})
        assert json.loads((folder.path / "config.json").read_text())["steps"] == steps


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(BadTraining, match="holds other files"):
        RunFolder(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="cannot write"):
        RunFolder(tmp_path / "file" / "out", CONFIG)


def test_the_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CONFIG)
    for step in (5, 10):
        checkpoint(folder, step)
    checkpoint(folder, 100, '{"a"')
    checkpoint(folder, 7).rename(folder.checkpoints / "checkpoint-7-copy")
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-10"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"draft = a", r"config\.json, line 1 is not valid JSON"),
        (b'{\n  "draft": "a",\n  "st', r"config\.json, line 3 is not valid JSON"),
        (b'{\n"draft": "\xff"}', r"config\.json, line 2 is not valid JSON"),
        (b"", r"config\.json, line 1 is not valid JSON"),
        (b'["draft"]', r"config\.json, line 1 is not a JSON object"),
        (b'"draft"', r"config\.json, line 1 is not a JSON object"),
        (b'{"draft": "a"}', r"another configuration \(changed: steps; see its config\.json\)"),
    ],
)
def test_a_broken_configuration_is_named_with_its_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    checkpoint(RunFolder(tmp_path, CONFIG), 5)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadTraining, match=message) as raised:
        RunFolder(tmp_path, CONFIG)
    assert "\n" not in str(raised.value)


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(BadTraining, match=r"cannot read .*config\.json: Is a directory"):
        RunFolder(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"step,kl\n1,0.5\n2,often\n3,0.5\n", 3),
        (b"step,kl\n1,0.5\n2\n", 3),
        (b"step,kl\n1,0.5,7\n", 2),
        (b"step,kl\nfirst,0.5\n", 2),
        (b"step,kl\n1,0.5\n2,\xff\n", 3),
        (b"loss,kl\n1,0.5\n", 2),
        (b'{"step": 1}\n{"step": 2}\n', 2),
        (b'step,kl\n1,"' + b"5" * 200_000 + b"\n", 2),
    ],
)
def test_a_broken_log_is_named_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    for read in (lambda: Log(tmp_path, ["kl"]).begin(5), lambda: draw_curves([tmp_path], tmp_path)):
        with pytest.raises(BadTraining, match=rf"log\.csv, line {line} does not hold") as raised:
            read()
        assert "\n" not in str(raised.value)


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(BadTraining, match=r"cannot read .*log\.csv: Is a directory"):
        Log(tmp_path, []).rows()


def test_empty_cells_and_nan_are_numbers_of_a_log(tmp_path: Path) -> None:
    log = Log(tmp_path, ["reward", "kl"])
    log.begin(0)
    log.add(1, {"reward": float("nan")})
    assert log.rows() == [{"step": "1", "reward": "nan", "kl": ""}]


def test_the_log_resumes_after_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path, ["reward", "kl"])
    log.begin(0)
    for step in (1, 2, 3):
        log.add(step, {"reward": step / 3, "kl": None})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("4,0.")  # a process killed in this row
    log.begin(2)
    log.add(3, {"reward": 9.0, "kl": 0.5})
    assert log.rows() == [
        {"step": "1", "reward": "0.333333", "kl": ""},
        {"step": "2", "reward": "0.666667", "kl": ""},
        {"step": "3", "reward": "9", "kl": "0.5"},
    ]


def test_curves_of_several_trainings_are_plotted(tmp_path: Path) -> None:
    for name, columns in (("one", ["reward", "kl"]), ("other", ["loss"])):
        (tmp_path / name).mkdir()
        log = Log(tmp_path / name, columns)
        log.begin(0)
        for step in range(1, 50):
            log.add(step, dict.fromkeys(columns, step / 50))
    out = tmp_path / "curves.png"
    draw_curves([tmp_path / "one", tmp_path / "other"], out)
    assert read_image(out).width == 1320
    with pytest.raises(BadTraining, match=r"no log\.csv with a row"):
        draw_curves([tmp_path], out)
    with pytest.raises(Unwritable, match="cannot write"):
        draw_curves([tmp_path / "one"], tmp_path / "none" / "curves.png")
