"""The state folder of a pair: taken by one process, given free, and never left in disorder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamr.errors import Unwritable
from dreamr.pairs.running import PairStateError, is_up, read_state, state_root
from dreamr.serving.launch.instance import Instance

STATE = {"name": "p", "file": "/p.yaml", "digest": "d", "pid": 1, "began": 0.0, "models": {}}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "dreamr"


def instance() -> Instance:
    return Instance("p", Path("pair.yaml"), "digest")


def test_a_pair_that_wrote_no_log_leaves_no_folder(root: Path) -> None:
    taken = instance()
    assert is_up("p")
    taken.release()
    assert list(root.iterdir()) == []


def test_logs_stay(root: Path) -> None:
    taken = instance()
    (taken.folder / "logs" / "big.log").touch()
    taken.release()
    assert not is_up("p")
    assert (root / "p" / "logs" / "big.log").exists()
    instance().release()


def test_a_file_in_the_place_of_the_logs_gives_the_folder_free(root: Path) -> None:
    (root / "p").mkdir(parents=True)
    (root / "p" / "logs").touch()
    with pytest.raises(Unwritable, match="set XDG_STATE_HOME to another folder"):
        instance()
    assert not is_up("p")


def test_a_pair_that_commands_could_not_find_does_not_serve(root: Path) -> None:
    taken = instance()
    (taken.folder / "state.json").unlink()
    (taken.folder / "state.json").mkdir()
    with pytest.raises(Unwritable, match="free space on its disk"):
        taken.serve("http://127.0.0.1:8000")
    taken.release()


def test_a_relative_folder_of_states_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert state_root().is_absolute()


def test_a_state_in_a_folder_that_cannot_be_read_is_an_error_of_one_line(root: Path) -> None:
    root.mkdir()
    (root / "p").symlink_to("x" * 300)  # an error of the system, also for the superuser
    with pytest.raises(PairStateError, match=r"cannot read state .*: File name too long") as error:
        read_state("p")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"began": "yesterday"},
        {"pid": None},
        {"models": []},
        {"models": {"m": 5}},
        {"models": {"m": {"engine": "vllm", "url": 1, "restarts": "often"}}},
        {"file": None},
    ],
)
def test_a_state_of_another_form_asks_for_dreamr_down(root: Path, change: dict[str, Any]) -> None:
    (root / "p").mkdir(parents=True)
    path = root / "p" / "state.json"
    path.write_text(json.dumps(STATE))
    assert read_state("p") is not None
    path.write_text(json.dumps({**STATE, **change}))
    with pytest.raises(PairStateError, match="written by another version: run dreamr down p"):
        read_state("p")
