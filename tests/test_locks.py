"""One process at a time writes a folder; the dead hold no lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest

from dreamr._locks import FolderLock, is_at
from dreamr.errors import DreamrError, Unwritable
from support.processes import environment

HOLDING = """
import sys
from pathlib import Path
from dreamr._locks import FolderLock
from dreamr.errors import DreamrError
lock = FolderLock(Path(sys.argv[1]), DreamrError)
print("locked", flush=True)
sys.stdin.read()
"""


class InUse(DreamrError):
    pass


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_folder_in_use_is_named_with_the_process(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InUse, match=f"{tmp_path} is in use by process {process.pid}: wait"):
            FolderLock(tmp_path, InUse)
        process.communicate(timeout=60)
    FolderLock(tmp_path, InUse).release()


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    with FolderLock(tmp_path, InUse):
        pass
    assert not list(tmp_path.iterdir())


def test_another_part_of_the_same_process_is_kept_out_too(tmp_path: Path) -> None:
    with FolderLock(tmp_path, InUse), pytest.raises(InUse, match=f"process {os.getpid()}: "):
        FolderLock(tmp_path, InUse)


def test_a_new_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "a" / "b", InUse):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b").exists()
    with FolderLock(tmp_path / "c", InUse):
        (tmp_path / "c" / "kept").touch()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["kept"]


def test_a_fork_does_not_give_the_folder_free(tmp_path: Path) -> None:
    with FolderLock(tmp_path, InUse) as lock:
        if not (child := os.fork()):
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(InUse):
            FolderLock(tmp_path, InUse)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"cannot write .*: Not a directory; name another folder"):
        FolderLock(tmp_path / "file" / "out", InUse)


def test_a_file_that_was_removed_or_replaced_is_not_at_its_path(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileIO(path, "w") as file:
        assert is_at(file, path)
        assert is_at(file.fileno(), path)
        path.unlink()
        assert not is_at(file, path)
        path.touch()
        assert not is_at(file, path)
