"""What `dreamr down` and `dreamr logs` take for a name, and the end of a pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.cli import main
from dreamr.errors import DreamrError
from dreamr.pairs.running import LOCK, is_up, read_state, state_folder
from dreamr.serving.launch import down
from dreamr.serving.launch.down import bring_down, name_of
from dreamr.serving.launch.instance import Instance
from support.pair_files import write_pair_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the states of pairs in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_logs_of_a_pair_with_the_name_of_a_folder_are_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "invoices").mkdir()  # pair.yaml in it has this name
    logs = state_folder("invoices") / "logs"
    logs.mkdir(parents=True)
    (logs / "big.log").write_text("serving\n")
    assert main(["logs", "invoices"]) == 0
    assert capsys.readouterr().out == "serving\n"


@pytest.mark.parametrize("name", ["invoices", "qwen3.5"])
def test_a_name_is_that_of_a_pair_though_it_is_a_folder_or_has_a_dot(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "invoices").mkdir()
    assert main(["down", name]) == 1
    assert f"{name} is not up" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["bills.yaml", "bills.yml", "bills.YAML", "bills", "bills.txt"])
def test_a_file_gives_the_name_in_it(path: str, folder: Path) -> None:
    write_pair_file(folder, {"m": {"url": "http://127.0.0.1:1/v1"}}, {"p": {"target": "m"}}).rename(
        folder / path
    )
    assert name_of(path) == "small-pair"


@pytest.mark.anyio
async def test_a_pair_that_stays_up_is_not_called_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "_KILLED_SECONDS", 0.0)
    instance = Instance("bills", folder / "pair.yaml", "digest")
    (instance.folder / LOCK).write_text("")  # no process is ended
    shown: list[str] = []
    with pytest.raises(DreamrError, match="bills is still up"):
        await bring_down("bills", 0.0, shown.append)
    assert shown == [
        "bills: running requests may finish",
        "bills: still up after 0 s, killing it",
    ]
    assert is_up("bills")
    assert read_state("bills") is not None
    instance.release()
