"""Files are replaced whole or not at all, whatever they are reached through."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dreamr._output_files import Output, discard_parts, open_output, replace_file, writing
from dreamr.cli.live_output import LiveOutput
from dreamr.errors import Unwritable


@contextmanager
def full_disk(after: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old and longer", b"new"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")

    def fail(*paths: Path) -> None:
        raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="the disk failed"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("room", [0, 1, 5000])
def test_a_full_disk_leaves_what_was_there(there: bool, room: int, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    if there:
        path.write_bytes(b"old")
    with Output(path) as output, full_disk(room), pytest.raises(Unwritable, match="File too large"):
        output.write("new" * 10_000)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"] * there


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    usual, own = tmp_path / "usual", tmp_path / "own"
    (tmp_path / "plain").touch()
    own.touch(0o640)
    for path in (usual, own):
        replace_file(path, b"new")
    assert stat.S_IMODE(usual.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(own.stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_leads_to_the_new_content(there: bool, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "file", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("real/file")
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_may_not_be_replaced_is_changed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "mounted").write_bytes(b"old and longer")

    def busy(*paths: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", busy)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    with full_disk(6), pytest.raises(OSError, match="File too large"):
        replace_file(path, b"much longer")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("made", [os.mkdir, os.mkfifo])
def test_what_cannot_be_a_file_is_refused_when_it_is_opened(made: object, tmp_path: Path) -> None:
    path = tmp_path / "other"
    made(path)  # type: ignore[operator]
    for kind in (Output, LiveOutput):
        with pytest.raises(Unwritable, match=r"Is a directory|it is a pipe that no process reads"):
            kind(path)
    assert path.exists()


def test_devices_are_written_directly(tmp_path: Path) -> None:
    replace_file(Path("/dev/null"), b"new")
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(Path("/dev/full"), b"new")
    (link := tmp_path / "null").symlink_to("/dev/null")
    replace_file(link, b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_process_that_ends_at_once_leaves_no_temporary_file(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), open_output(tmp_path / "a") as file:
        file.write(b"half")
        assert len(list(tmp_path.iterdir())) == 1
        discard_parts()
        assert not list(tmp_path.iterdir())
        raise KeyboardInterrupt


def test_an_output_to_which_nothing_was_written_changes_nothing(tmp_path: Path) -> None:
    (old := tmp_path / "old").write_bytes(b"old")
    for path in (old, tmp_path / "new"):
        for kind in (Output, LiveOutput):
            with kind(path):
                pass
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_lines_of_a_new_file_can_be_read_as_they_come(tmp_path: Path) -> None:
    with LiveOutput(tmp_path / "new") as output:
        output.write("a\n")
        assert (tmp_path / "new").read_text() == "a\n"


@pytest.mark.parametrize("there", [True, False])
def test_lines_on_a_full_disk_keep_the_old_file_or_whole_lines(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    if there:
        path.write_bytes(b"old")
    with LiveOutput(path) as output:
        output.write("a\n")
        with full_disk(4), pytest.raises(Unwritable, match="File too large"):
            output.write("much longer\n")
    assert path.read_bytes() == (b"old" if there else b"a\n")
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line_with_advice(tmp_path: Path) -> None:
    with (
        pytest.raises(Unwritable, match=r"^cannot write .*: Is a directory; choose another file$"),
        writing(tmp_path),
    ):
        tmp_path.write_text("a")
