from __future__ import annotations

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


def test_the_same_run_finds_what_it_has_done(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", CONFIG)
    assert not folder.done
    assert folder.last_checkpoint() is None
    whole = checkpoint(folder, 5)
    again = RunFolder(tmp_path / "out", CONFIG)
    assert again.last_checkpoint() == whole
    folder.model.mkdir()
    assert again.done


def test_the_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    checkpoint(RunFolder(tmp_path / "out", CONFIG), 5)
    with pytest.raises(BadTraining, match=r"another configuration \(steps differ"):
        RunFolder(tmp_path / "out", {**CONFIG, "steps": 20})


def test_a_run_that_came_to_nothing_gives_way(tmp_path: Path) -> None:
    RunFolder(tmp_path / "out", CONFIG)
    RunFolder(tmp_path / "out", {**CONFIG, "steps": 20})
    checkpoint(RunFolder(tmp_path / "out", CONFIG), 5)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(BadTraining, match="something else"):
        RunFolder(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="cannot write"):
        RunFolder(tmp_path / "file" / "out", CONFIG)


def test_only_whole_checkpoints_count_and_the_newest_of_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, CONFIG)
    for step in (5, 10):
        checkpoint(folder, step)
    checkpoint(folder, 100, '{"a"')
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-10"


def test_the_log_goes_on_behind_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path, ["reward", "kl"])
    log.begin(0)
    for step in (1, 2, 3):
        log.add(step, {"reward": step / 3, "kl": None})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("4,0.")  # a kill
    log.begin(2)
    log.add(3, {"reward": 9.0, "kl": 0.5})
    assert log.rows() == [
        {"step": "1", "reward": "0.333333", "kl": ""},
        {"step": "2", "reward": "0.666667", "kl": ""},
        {"step": "3", "reward": "9", "kl": "0.5"},
    ]


def test_curves_are_drawn_of_what_the_logs_hold(tmp_path: Path) -> None:
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
