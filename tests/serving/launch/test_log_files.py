"""The last lines of logs, and what is added to them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dreamr.serving.launch.guard import RotatingLog
from dreamr.serving.launch.log_files import Follower, last_line, last_lines


def test_the_last_line_that_says_something_is_found(tmp_path: Path) -> None:
    log = tmp_path / "big.log"
    assert last_line(log) == ""
    log.write_text("first\n" + "x" * 10_000 + "\nloading  weights\n\n  \n")
    assert last_line(log) == "loading weights"


def test_last_lines_begin_in_the_log_before(tmp_path: Path) -> None:
    log = tmp_path / "big.log"
    (tmp_path / "big.log.1").write_text("one\ntwo\n")
    log.write_text("three\n")
    assert last_lines(log, 2) == [b"two", b"three"]
    assert last_lines(log, 1) == [b"three"]
    assert last_lines(log, 0) == []
    assert last_lines(tmp_path / "other.log", 5) == []


def test_a_follower_reads_whole_lines_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    log = RotatingLog(str(path), 100)
    with closing(Follower(path)) as follower:
        assert list(follower.lines()) == []
        log.write(b"a line\nhalf of")
        assert list(follower.lines()) == [b"a line"]
        log.write(b" a line\n")
        log.write(b"x" * 80 + b"\n")  # goes to a new file
        assert list(follower.lines()) == [b"half of a line", b"x" * 80]
    log.close()


def test_a_follower_begins_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    path.write_text("old\n")
    with closing(Follower(path)) as follower:
        assert list(follower.lines()) == []
        with path.open("a") as file:
            file.write("new\n")
        assert list(follower.lines()) == [b"new"]
